"""The grammar of filter patterns: what is one, and what is answered as none."""

from __future__ import annotations

import orjson
import pytest

from lambent.domain.errors import InvalidParameterValue
from lambent.mappings.filters import FILTERS_MAX, check_filters, is_pattern

GOOD = [
    '{"a":["x",1,1.5,-2e3,true,false,null,""]}',
    '{"a":{"b":{"c":["x"]}},"d":[1]}',
    '{"a":[{"prefix":"x"}]}',
    '{"a":[{"prefix":{"equals-ignore-case":"x"}}]}',
    '{"a":[{"suffix":"x"}]}',
    '{"a":[{"suffix":{"equals-ignore-case":"x"}}]}',
    '{"a":[{"equals-ignore-case":"x"}]}',
    '{"a":[{"anything-but":"x"}]}',
    '{"a":[{"anything-but":5}]}',
    '{"a":[{"anything-but":["x","y"]}]}',
    '{"a":[{"anything-but":[1,2]}]}',
    '{"a":[{"anything-but":{"prefix":"x"}}]}',
    '{"a":[{"anything-but":{"prefix":["x","y"]}}]}',
    '{"a":[{"anything-but":{"suffix":"x"}}]}',
    '{"a":[{"anything-but":{"equals-ignore-case":["x"]}}]}',
    '{"a":[{"anything-but":{"wildcard":"*x"}}]}',
    '{"a":[{"numeric":["=",5]}]}',
    '{"a":[{"numeric":["<",5]}]}',
    '{"a":[{"numeric":["<=",5.5]}]}',
    '{"a":[{"numeric":[">",0,"<=",100]}]}',
    '{"a":[{"numeric":[">=",100,"<",200]}]}',
    '{"a":[{"exists":true}]}',
    '{"a":[{"exists":false}]}',
    '{"a":[{"cidr":"10.0.0.0/24"}]}',
    '{"a":[{"cidr":"10.0.0.7/24"}]}',
    '{"a":[{"cidr":"2001:db8::/32"}]}',
    '{"a":[{"wildcard":"a*z*"}]}',
    r'{"a":[{"wildcard":"\\*\\\\*"}]}',
    '{"$or":[{"a":["x"]},{"b":[{"prefix":"y"}]}]}',
    '{"a":{"$or":[{"b":["x"]},{"c":{"d":["y"]}}]},"e":[1]}',
    '{"$or":["x"]}',
    '{"a":["no"],"a":["last one wins"]}',
    '{"a":"last one wins","a":["x"]}',
    "{" + '"a":{' * 400 + '"a":[1]' + "}" * 401,
    ' {"a" : [ "x" ] } ',
]

BAD = [
    "",
    "x",
    "null",
    '"x"',
    "1",
    "[]",
    '[{"a":["x"]}]',
    "{",
    '{"a":["x"]',
    '{"a":["x"]} {}',
    "{}",
    '{"a":{}}',
    '{"a":[]}',
    '{"eventSource":"aws:sqs"}',
    '{"a":1}',
    '{"a":null}',
    '{"a":true}',
    '{"a":[["x"]]}',
    '{"a":[{}]}',
    '{"a":[NaN]}',
    '{"a":["x"],"a":"last one wins"}',
    '{"a":[{"unknown":"x"}]}',
    '{"a":[{"prefix":"x","suffix":"y"}]}',
    '{"a":[{"prefix":1}]}',
    '{"a":[{"prefix":["x"]}]}',
    '{"a":[{"prefix":{"prefix":"x"}}]}',
    '{"a":[{"suffix":null}]}',
    '{"a":[{"equals-ignore-case":1}]}',
    '{"a":[{"anything-but":[]}]}',
    '{"a":[{"anything-but":null}]}',
    '{"a":[{"anything-but":true}]}',
    '{"a":[{"anything-but":["x",1]}]}',
    '{"a":[{"anything-but":{"prefix":""}}]}',
    '{"a":[{"anything-but":{"prefix":[]}}]}',
    '{"a":[{"anything-but":{"numeric":["=",1]}}]}',
    '{"a":[{"anything-but":{"prefix":"x","suffix":"y"}}]}',
    '{"a":[{"anything-but":{"wildcard":"**"}}]}',
    '{"a":[{"numeric":5}]}',
    '{"a":[{"numeric":[]}]}',
    '{"a":[{"numeric":["="]}]}',
    '{"a":[{"numeric":["==",5]}]}',
    '{"a":[{"numeric":["=","5"]}]}',
    '{"a":[{"numeric":["=",true]}]}',
    '{"a":[{"numeric":["=",5,"<",6]}]}',
    '{"a":[{"numeric":["<",6,">",5]}]}',
    '{"a":[{"numeric":[">",6,"<",5]}]}',
    '{"a":[{"numeric":[">",5,"<",6,"<",7]}]}',
    '{"a":[{"numeric":[">",5,6]}]}',
    '{"a":[{"numeric":[["="],5]}]}',
    '{"a":[{"exists":"true"}]}',
    '{"a":[{"exists":1}]}',
    '{"a":[{"cidr":"10.0.0.0"}]}',
    '{"a":[{"cidr":"10.0.0.0/33"}]}',
    '{"a":[{"cidr":"here/24"}]}',
    '{"a":[{"cidr":7}]}',
    '{"a":[{"wildcard":"a**z"}]}',
    r'{"a":[{"wildcard":"a\\z"}]}',
    r'{"a":[{"wildcard":"a\\"}]}',
    '{"a":[{"wildcard":1}]}',
    '{"$or":[{"a":["x"]}]}',
    '{"$or":[{"a":["x"]},{"b":"y"}]}',
    '{"$or":[{"a":["x"]},{}]}',
    '{"$or":[{"a":["x"]},"y"]}',
    '{"$or":{"a":"x"}}',
    "{" + '"a":{' * 400 + '"a":1' + "}" * 401,
    "{" + '"a":{' * 2_000 + '"a":[1]' + "}" * 2_001,
    r'{"a":["\ud800"]}',
]


@pytest.mark.parametrize("pattern", GOOD)
def test_patterns(pattern: str) -> None:
    assert is_pattern(pattern)


@pytest.mark.parametrize("pattern", BAD)
def test_what_is_no_pattern(pattern: str) -> None:
    assert not is_pattern(pattern)
    with pytest.raises(InvalidParameterValue, match=r"^Invalid filter pattern definition\.$"):
        check_filters(['{"a":["x"]}', pattern])


def test_the_longest_pattern_is_no_matter_for_the_stack() -> None:
    depth = (4_096 - len('"a":[1]') - 2) // len('"a":{}')
    pattern = "{" + '"a":{' * depth + '"a":[1]' + "}" * (depth + 1)
    assert len(pattern) <= 4_096
    assert is_pattern(pattern) == (orjson.loads(pattern) is not None)


def test_five_filters_of_which_each_has_a_pattern() -> None:
    check_filters(['{"a":["x"]}'] * FILTERS_MAX)
    with pytest.raises(InvalidParameterValue, match="at most 5 filters; 6 were given"):
        check_filters(['{"a":["x"]}'] * (FILTERS_MAX + 1))
    with pytest.raises(InvalidParameterValue, match=r"^Invalid filter pattern definition\.$"):
        check_filters([None])
