"""Calls Pusher's server library for Python: {"app": {…}, "calls": [[name, {arguments}], …]} on standard
input, one result for each call on standard output, {"error": class} for one that was refused."""

import json
import sys

import pusher

asked = json.load(sys.stdin)
library = pusher.Pusher(ssl=False, **asked["app"])
results = []
for name, arguments in asked["calls"]:
    try:
        results.append(getattr(library, name)(**arguments))
    except Exception as error:
        results.append({"error": type(error).__name__})
json.dump(results, sys.stdout)
