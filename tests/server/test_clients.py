"""Official clients against uploads-server: npm's, in two generations, and curl as the documents use it."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import BUILD

# What they ask of the server is the same in every build.
pytestmark = pytest.mark.plain

HERE = pathlib.Path(__file__).parent / "clients"
KEY = "sk-test-0123456789abcdef"
TIMEOUT = 120
INSTALL_TIMEOUT = 240  # tens of MB from the registry


def run(argv, cwd=None, timeout=TIMEOUT, **env):
    words = {k: v for k, v in os.environ.items()
             if not k.startswith(("OPENAI_", "AZURE_OPENAI_", "NODE_")) and
             not k.lower().endswith("_proxy")}
    return subprocess.run(argv, cwd=cwd, env={**words, **env}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, check=False)


@pytest.fixture(scope="module")
def npm():
    """A folder with the packages of clients/package-lock.json, kept in the build directory."""
    folder = BUILD / "npm-clients"
    stamp, lock = folder / ".installed", HERE / "package-lock.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        # The environment as it is: a proxy may lead to the registry.
        done = subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund",
                               "--ignore-scripts", "--engine-strict=false"], cwd=folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=INSTALL_TIMEOUT,
                              check=False)
        assert done.returncode == 0, "npm ci: " + done.stdout
        shutil.copy(lock, stamp)
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(f'{{"line": {i}, "text": "{"ä" * i}"}}\n' for i in range(30)))
    return path


def steps(npm, script, *args, count):
    done = run(["node", script, *map(str, args)], cwd=npm)
    assert done.returncode == 0, done.stdout
    assert sum(line.startswith("ok ") for line in done.stdout.splitlines()) == count, done.stdout


@pytest.mark.parametrize("service", ["openai", "azure", "azure-v1"])
@pytest.mark.parametrize("module", ["openai", "openai4"])
def test_openai(npm, make_server, lines, module, service):
    """The package openai, newest 7.x and 4.60, and its AzureOpenAI."""
    server = make_server("--flavor", service.partition("-")[0], key=KEY)
    now = {"retry-after-ms": "1"}
    rules = [{"op": "create", "action": "status", "status": 429, "headers": now},
             {"op": "part", "action": "drop"},
             {"op": "complete", "action": "status", "status": 500, "headers": now}]
    if module == "openai4":
        # It can't send the body of a Part twice: it waits for ever.
        del rules[1]
    server.faults(*[{**rule, "match": "retry"} for rule in rules])
    steps(npm, "openai.mjs", module, service, f"http://127.0.0.1:{server.port}", KEY, lines, count=18)
    assert [x["fault"] for x in server.journal() if x["fault"]] == [x["action"] for x in rules]
    assert len([x for x in server.list()["files"] if x["filename"] == "retry-1.jsonl"]) == 1
    prefix = {"openai": "/v1/", "azure": "/openai/", "azure-v1": "/openai/v1/"}[service]
    assert {x["path"][:len(prefix)] for x in server.journal()} == {prefix}
    if service == "azure":
        assert not [x for x in server.journal() if x["path"].startswith("/openai/v1")]


def test_ai_sdk(npm, make_server, lines):
    server = make_server(key=KEY)
    steps(npm, "ai-sdk.mjs", f"http://127.0.0.1:{server.port}", KEY, lines, count=7)


# ---- curl, as the documents of the API write it ----

@pytest.fixture
def curl(make_server, tmp_path):
    server = make_server(key=KEY)

    def ask(command, status=200, **words):
        """A command of the documents; URL and KEY stand for the service's."""
        for name, value in words.items():
            command = command.replace(name, value)
        note = tmp_path / "status"
        command = command.replace("curl ", f"curl -sS -w '%{{stderr}}%{{http_code}}' ", 1)
        done = run(["bash", "-euc", f"exec 2> '{note}'\n{command}"], OPENAI_API_KEY=KEY,
                   URL=f"http://127.0.0.1:{server.port}/v1")
        assert (done.returncode, note.read_text()) == (0, str(status)), done.stdout
        return json.loads(done.stdout) if done.stdout else None

    ask.server = server
    return ask


CREATE = """curl $URL/uploads \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -d '{
    "purpose": "fine-tune",
    "filename": "training_examples.jsonl",
    "bytes": SIZE,
    "mime_type": "text/jsonl",
    "expires_after": {
      "anchor": "created_at",
      "seconds": 3600
    }
  }'
"""
PART = """curl $URL/uploads/UPLOAD/parts \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -F data="aHR0cHM6Ly9hcGkub3BlbmFpLmNvbS92MS91cGxvYWRz..."
"""
COMPLETE = """curl $URL/uploads/UPLOAD/complete \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -d '{
    "part_ids": ["PART1", "PART2"]
  }'
"""
COMPLETE_TYPED = """curl $URL/uploads/UPLOAD/complete \\
  -X POST \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "part_ids": ["PART1", "PART2"], "md5": "MD5"
  }'
"""
COMPLETE_FORM = """curl $URL/uploads/UPLOAD/complete \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -d "part_ids=PART1" -d "part_ids=PART2" -d "md5=MD5"
"""
CANCEL = """curl $URL/uploads/UPLOAD/cancel \\
  -X POST \\
  -H "Authorization: Bearer $OPENAI_API_KEY"
"""
PIECE = b"aHR0cHM6Ly9hcGkub3BlbmFpLmNvbS92MS91cGxvYWRz..."


def test_curl_a_large_upload(curl):
    """The create of the example, whose 2 GiB nobody sends."""
    upload = curl(CREATE, SIZE="2147483648")
    assert upload["bytes"] == 2 << 30 and upload["status"] == "pending"
    assert curl(CANCEL, UPLOAD=upload["id"])["status"] == "cancelled"
    # Without -X POST, as an older example has it, curl asks with GET.
    curl(CANCEL.replace("  -X POST \\\n", ""), UPLOAD=upload["id"], status=405)


@pytest.mark.parametrize("complete", [COMPLETE, COMPLETE_TYPED, COMPLETE_FORM])
def test_curl_an_upload(curl, complete):
    """A Part as a plain field; complete as JSON, with a type or without, and as a form."""
    upload = curl(CREATE, SIZE=str(2 * len(PIECE)))
    parts = [curl(PART, UPLOAD=upload["id"]) for _ in "ab"]
    assert all(x["object"] == "upload.part" for x in parts)
    done = curl(complete, UPLOAD=upload["id"], PART1=parts[0]["id"], PART2=parts[1]["id"],
                MD5=hashlib.md5(2 * PIECE).hexdigest())
    assert done["status"] == "completed"
    assert done["file"]["expires_at"] == done["file"]["created_at"] + 3600
    assert curl.server.content(done["file"]["id"]).body == 2 * PIECE


def test_curl_files(curl, tmp_path):
    (tmp_path / "mydata.jsonl").write_bytes(b'{"a": 1}\n')
    made = curl("""cd FOLDER; curl $URL/files \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -F purpose="fine-tune" \\
  -F file="@mydata.jsonl" \\
  -F expires_after[anchor]="created_at" \\
  -F expires_after[seconds]=2592000
""", FOLDER=str(tmp_path))
    assert made["filename"] == "mydata.jsonl" and made["bytes"] == 9
    assert made["expires_at"] == made["created_at"] + 2592000
    listed = curl("""curl $URL/files \\
  -H "Authorization: Bearer $OPENAI_API_KEY"
""")
    assert listed["data"] == [made] and listed["has_more"] is False
    assert curl("""curl $URL/files/FILE \\
  -H "Authorization: Bearer $OPENAI_API_KEY"
""", FILE=made["id"]) == made
    curl("""curl $URL/files/FILE/content \\
  -H "Authorization: Bearer $OPENAI_API_KEY" > OUT
""", FILE=made["id"], OUT=str(tmp_path / "file.jsonl"))
    assert (tmp_path / "file.jsonl").read_bytes() == b'{"a": 1}\n'
    gone = curl("""curl $URL/files/FILE \\
  -X DELETE \\
  -H "Authorization: Bearer $OPENAI_API_KEY"
""", FILE=made["id"])
    assert gone == {"object": "file", "deleted": True, "id": made["id"]}
