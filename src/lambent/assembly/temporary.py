import re
from lambent.domain.names import Scope, is_account
from lambent.identity.model import Caller, SandboxOrigin, root_arn
_C=re.compile(rb"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
class SigV4:
    def __init__(self, clock, *, default_account, default_region, is_verifying): self.a=default_account; self.r=default_region
    def identify(self, request):
        m=_C.search(request.header(b"authorization") or b"")
        origin=getattr(request,'origin',None)
        if m:
            key=m.group(1).decode(); account=key if is_account(key) else self.a; region=m.group(2).decode(); service=m.group(3).decode()
        else: key=None; account=self.a; region=self.r; service=None
        sb=None
        if isinstance(origin,SandboxOrigin): account=origin.account; sb=origin.environment
        return Caller(Scope(account,region),key,service,root_arn(account,region),sb)
    def verify(self, request, caller): return None
