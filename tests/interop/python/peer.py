"""The Python side of the interop rows: one command a run, JSON in on stdin, JSON out on stdout."""

import datetime
import json
import sys

import jwt
from google.protobuf.json_format import MessageToDict, ParseDict
from livekit.api import AccessToken, RoomConfiguration, SIPGrants, TokenVerifier, VideoGrants


def mint(key, secret):
    """A token with what a token can have, so that nothing gets lost on the way unnoticed."""
    config = {
        "emptyTimeout": 30,
        "maxParticipants": 7,
        "syncStreams": True,
        "tags": {"team": "blue"},
        "agents": [
            {"agentName": "helper", "metadata": "m", "deployment": "staging", "restartPolicy": "JRP_NEVER"}
        ],
    }
    token = (
        AccessToken(key, secret)
        .with_identity("python")
        .with_name("Zoë 🧑‍🚀")
        .with_ttl(datetime.timedelta(seconds=600))
        .with_metadata('{"a":1}')
        .with_attributes({"lang": "de"})
        .with_grants(VideoGrants(room_join=True, room="lobby", can_publish=False, can_publish_data=True, hidden=True))
        .with_sip_grants(SIPGrants(call=True))
        .with_room_config(ParseDict(config, RoomConfiguration()))
    )
    return {"token": token.to_jwt()}


def verify(key, secret, token):
    try:
        claims = TokenVerifier(key, secret).verify(token)
    except jwt.InvalidTokenError as error:
        return {"refused": type(error).__name__}
    return {
        "sub": claims.identity,
        "name": claims.name,
        "metadata": claims.metadata,
        "attributes": claims.attributes,
        "video": {
            "roomJoin": claims.video.room_join,
            "room": claims.video.room,
            "canPublish": claims.video.can_publish,
            "canPublishData": claims.video.can_publish_data,
            "hidden": claims.video.hidden,
        },
        "sip": {"call": claims.sip.call},
        "roomConfig": MessageToDict(claims.room_config),
    }


print(json.dumps({"mint": mint, "verify": verify}[sys.argv[1]](**json.load(sys.stdin))))
