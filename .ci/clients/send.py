"""Sends mail by the client that openapi-python-client made, and judges the types of what it gives back."""

import datetime
import io
import sys
import time

import httpx
from sendoff_client import AuthenticatedClient
from sendoff_client.api.messages import message_status, send_message
from sendoff_client.api.queue import list_queue
from sendoff_client.models import Accepted, MessageStatus, NewMessage, Problem
from sendoff_client.types import File


def main(url: str, key: str) -> None:
    for _ in range(300):
        try:
            httpx.get(url + "/readyz").raise_for_status()
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    with AuthenticatedClient(base_url=url, token=key) as client:
        mail = NewMessage(
            from_="Ann <ann@sender.example>",
            to=["bob@there.example"],
            subject="Grüße",
            text="Hello.\n",
            send_at=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1),
        )
        accepted = send_message.sync(client=client, body=mail, idempotency_key="python-1")
        assert isinstance(accepted, Accepted) and not accepted.duplicate, accepted
        again = send_message.sync(client=client, body=mail, idempotency_key="python-1")
        assert isinstance(again, Accepted) and again.duplicate and again.id == accepted.id, again

        whole = b"From: <ann@sender.example>\r\nTo: <bob@there.example>\r\n\r\n\x00\xff\r\n"
        binary = send_message.sync(
            client=client,
            body=File(payload=io.BytesIO(whole)),
            from_="ann@sender.example",
            to=["bob@there.example", "eve@there.example"],
            body_type="BINARYMIME",
        )
        assert isinstance(binary, Accepted) and len(binary.recipients) == 2, binary

        status = message_status.sync(accepted.id, client=client)
        assert isinstance(status, MessageStatus), status
        assert isinstance(status.accepted, datetime.datetime), status
        assert list_queue.sync(client=client, limit=10) is not None

        wrong = send_message.sync(client=client, body=NewMessage(from_="nobody", to="bob@there.example", text=""))
        assert isinstance(wrong, Problem) and wrong.field == "from" and wrong.code == "bad-field", wrong
    with AuthenticatedClient(base_url=url, token="none") as stranger:
        refused = send_message.sync_detailed(client=stranger, body=mail)
        assert refused.status_code == 401 and isinstance(refused.parsed, Problem), refused


main(sys.argv[1], sys.argv[2])
