"""pysher on the channels that the arguments name: prints [event, channel, data] for each event, one a line.

subscriber.py PORT KEY SECRET CHANNEL…"""

import json
import sys
import threading

import pysher

port, key, secret, *channels = sys.argv[1:]
client = pysher.Pusher(key, secure=False, custom_host="127.0.0.1", port=int(port), secret=secret,
                       user_data={"user_id": "py", "user_info": {"name": "PY"}})


def tell(event, channel, data):
    print(json.dumps([event, channel, data]), flush=True)


def connected(_):
    for name in channels:
        channel = client.subscribe(name)
        for event in ["pusher_internal:subscription_succeeded", "pusher_internal:member_added", "paid", "client-typing"]:
            channel.bind(event, lambda data, event=event, name=name: tell(event, name, data))
    if any(name.startswith("private-") for name in channels):
        private = next(name for name in channels if name.startswith("private-"))
        client.channels[private].bind("whisper", lambda _: client.channels[private].trigger("client-typing", {"by": "py"}))


client.connection.bind("pusher:connection_established", connected)
client.connect()
threading.Event().wait()
