"""Sends each file of a folder by the three calls, over one connection: PORT FOLDER."""
import hashlib
import http.client
import json
import os
import sys

HEAD = (b'--b\r\nContent-Disposition: form-data; name="data"; filename="part"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n")


def call(connection, path, body, kind="application/json"):
    connection.request("POST", "/v1/uploads" + path, body, {"Content-Type": kind})
    reply = connection.getresponse()
    text = reply.read()
    assert reply.status == 200, text
    return json.loads(text)


def send(connection, name, data):
    upload = call(connection, "", json.dumps({"filename": name, "purpose": "batch", "bytes": len(data),
                                              "mime_type": "text/jsonl"}))["id"]
    part = call(connection, f"/{upload}/parts", HEAD + data + b"\r\n--b--\r\n",
                "multipart/form-data; boundary=b")["id"]
    done = call(connection, f"/{upload}/complete",
                json.dumps({"part_ids": [part], "md5": hashlib.md5(data).hexdigest()}))
    assert done["file"]["bytes"] == len(data)


def main():
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    for name in os.listdir(sys.argv[2]):
        with open(os.path.join(sys.argv[2], name), "rb") as f:
            send(connection, name, f.read())
    connection.close()


main()
