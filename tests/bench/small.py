"""Rows about many small files and about listings."""
import os
import shutil
import sys

from harness import BUILD, run
from lab import HERE, took
from peers import free_port
from table import Row

FILES = 1000
SIZE = 10000
LISTED = 100000


def tree(lab, count):
    folder = lab.directory("tree")
    for i in range(count):
        with open(os.path.join(folder, f"{i:05}.jsonl"), "wb") as f:
            f.write(os.urandom(SIZE))
    return folder


def settle(mount):
    """Took of the wait until all that was closed is published."""
    return took([os.path.join(BUILD, "uploadfs"), "wait", mount.mnt])


def small(lab):
    """cp -r, with close=sync and close=async, against a loop that does the three calls."""
    count = lab.count(FILES)
    folder = tree(lab, count)
    sink = lab.sink("--latency", "20")
    sync = lab.mount(sink, purpose="batch")
    later = lab.mount(sink, purpose="evals", close="async")
    loop = [sys.executable, os.path.join(HERE, "loop.py"), str(sink.port), folder]
    one, two, theirs = [], [], []
    for i in lab.turns():
        one.append(took(["cp", "-r", folder, sync.path(f"r{i}")]).wall)
        theirs.append(took(loop).wall)
        two.append(took(["cp", "-r", folder, later.path(f"r{i}")]).wall)
        settle(later)
    what = f"{count} files of 10 KB by `cp -r`, 20 ms to a reply"
    against = "a loop of the three calls over one connection"
    return [Row("small", what, against, one, theirs, aim=1.05),
            Row("small-async", "the same with `close=async`, to the return of cp", "the same",
                two, theirs, aim=0.12)]


CURLS = 8

# argv: URL, folder with a list of names. The three calls for each, a curl each; the id is cut from
# the reply.
LOOP = """
while read -r f; do
    id=$(curl -sS -f -H 'Content-Type: application/json' "$1/uploads" -d \
        "{\\"filename\\":\\"${f##*/}\\",\\"purpose\\":\\"batch\\",\\"bytes\\":SIZE,\\"mime_type\\":\\"text/jsonl\\"}")
    id=${id#*\\"id\\":\\"}
    id=${id%%\\"*}
    part=$(curl -sS -f -F "data=@$f" "$1/uploads/$id/parts")
    part=${part#*\\"id\\":\\"}
    md5=$(md5sum "$f")
    curl -sS -f -o /dev/null -H 'Content-Type: application/json' "$1/uploads/$id/complete" -d \
        "{\\"part_ids\\":[\\"${part%%\\"*}\\"],\\"md5\\":\\"${md5%% *}\\"}"
done
""".replace("SIZE", str(SIZE))


def many(lab):
    """Files a second with close=async, against rclone and a loop of curl, without latency."""
    count = lab.count(10 * FILES)
    folder = tree(lab, count)
    sink, port, store = lab.sink(), free_port(), lab.directory("dav")
    mount = lab.mount(sink, purpose="batch", close="async")
    none = os.path.join(lab.world.dir, "rclone.conf")
    with open(none, "w", encoding="ascii"):
        pass
    rclone = ["rclone", "--config", none]
    lab.other("webdav", rclone + ["serve", "webdav", store, "--addr",
                                  f"127.0.0.1:{port}"]).await_port(port)
    names = sorted(os.path.join(folder, x) for x in os.listdir(folder))
    lists = lab.directory("lists")
    few = max(count // 10, 1)  # of the loop, which starts four processes a file
    loops = []
    for nr in range(CURLS):
        with open(os.path.join(lists, str(nr)), "w", encoding="ascii") as f:
            f.writelines(x + "\n" for x in names[nr:few:CURLS])
        loops.append(["sh", "-c", '. "$2"/loop <"$2/$3"', "sh", sink.url, lists, str(nr)])
    with open(os.path.join(lists, "loop"), "w", encoding="ascii") as f:
        f.write(LOOP)
    ours, peer, loop = [], [], []
    for i in lab.turns():
        copy = took(["cp", "-r", folder, mount.path(f"r{i}")])
        ours.append((copy + settle(mount)).wall)
        peer.append(took(rclone + ["copy", "--transfers", str(CURLS), folder,
                                   f":webdav,url='http://127.0.0.1:{port}':r{i}"]).wall)
        loop.append(took(*loops).wall * count / few)
    what = f"{count:,} files of 10 KB by `cp -r`, `close=async`, until all are published"
    return [Row("many-rclone", what, f"`rclone copy --transfers {CURLS}` to `rclone serve webdav`",
                ours, peer),
            Row("many-curl", "the same", f"{CURLS} loops of curl, three calls a file (a tenth of the "
                "files, times ten)", ours, loop)]


def pages(url):
    """The URLs of all pages of the list."""
    urls, after = [], ""
    while True:
        urls.append(f"{url}/files?limit=10000{after}")
        last = run(["sh", "-c", 'curl -sS -f "$1" | tail -c 200', "sh", urls[-1]]).stdout
        if '"has_more":false' in last.replace(" ", ""):
            return urls
        after = "&after=" + last.partition('"last_id":')[2].split('"')[1]


def listing(lab):
    """ls -f of many Files, with a daemon that knows nothing, then with one that does."""
    count = lab.count(LISTED)
    sink = lab.sink("--sink-files", f"{count}:1K")
    urls = pages(sink.url)
    cold, warm, theirs, memory = [], [], [], []
    for _ in lab.turns():
        mount = lab.mount(sink, list_ttl="600")
        before = mount.memory()
        ls = ["sh", "-c", 'test $(ls -f "$1" | wc -l) = "$2"', "sh", mount.path("batch"),
              str(count + 2)]
        cold.append(took(ls).wall)
        memory.append((mount.memory() - before) / count)
        warm.append(took(ls).wall)
        mount.umount()
        shutil.rmtree(mount.state)
        argv = ["curl", "-sS", "-f"]
        for url in urls:
            argv += [url, "-o", os.devnull]
        theirs.append(took(argv).wall)
    return [Row("ls", f"`ls -f` of {count:,} Files, cold", "curl of the pages", cold, theirs,
                aim=1.5),
            Row("ls-warm", f"`ls -f` of {count:,} Files, warm", "–", warm),
            Row("ls-memory", "the daemon's resident memory for each listed File", "–", memory,
                unit="bytes")]


def attributes(lab):
    """`ls -ln` of many Files; each turn in a fresh mount, after one listing of the names.

    The daemon has the account's listing by then. That listing of names, os.listdir(), asks for
    no attributes, so the kernel gets nearly all of them for ls.
    """
    count = lab.count(LISTED)
    sink = lab.sink("--sink-files", f"{count}:1K")
    times = []
    for _ in lab.turns():
        mount = lab.mount(sink, list_ttl="600")
        os.listdir(mount.path("batch"))
        ls = ["sh", "-c", 'test $(ls -ln "$1" | wc -l) = "$2"', "sh", mount.path("batch"),
              str(count + 1)]
        times.append(took(ls).wall)
        mount.umount()
        shutil.rmtree(mount.state)
    return [Row("ls-l", f"`ls -ln` of {count:,} Files in a fresh mount, names listed once", "–", times)]


ROWS = {"small": small, "many": many, "ls": listing, "ls-l": attributes}
