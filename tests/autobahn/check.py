#!/usr/bin/env python3
"""Reads a report of the Autobahn cases: check.py REPORT/index.json. Fails unless every case of the groups
that apply was run, and each ended OK, NON-STRICT or INFORMATIONAL, in what was said and in how it closed."""

import json
import sys
from collections import Counter

FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}
# Cases in each group. 8 and 11 do not exist; 12 and 13 are of compression, which askrd does not speak.
GROUPS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}

(cases,) = json.load(open(sys.argv[1])).values()
groups = Counter(case.split(".")[0] for case in cases)
said = Counter(case["behavior"] for case in cases.values())
closed = Counter(case["behaviorClose"] for case in cases.values())
bad = {
    name: (case["behavior"], case["behaviorClose"])
    for name, case in cases.items()
    if {case["behavior"], case["behaviorClose"]} - FINE
}
for name, (behavior, close) in bad.items():
    print(f"autobahn: case {name}: {behavior}, closed {close}")
if groups != GROUPS:
    print(f"autobahn: cases run by group: {dict(groups)}, expected: {GROUPS}")
print(f"autobahn: {len(cases)} cases; said: {dict(said)}; closed: {dict(closed)}")
sys.exit(bool(bad) or groups != GROUPS)
