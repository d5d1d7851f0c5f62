// What the mount replaces: a file sent with the official SDK, Part by Part, with its MD5.
import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { basename, join } from "node:path";

// An import does not look at NODE_PATH.
const require = createRequire(join(process.env.NODE_PATH, "x.js"));
const { OpenAI, toFile } = require("openai");

const client = new OpenAI();
const file = await open(process.argv[2]);
const { size } = await file.stat();
const upload = await client.uploads.create({
	filename: basename(process.argv[2]), purpose: "batch", bytes: size, mime_type: "text/jsonl",
});
const md5 = createHash("md5");
const ids = [];
for (let at = 0; at < size; ) {
	const { bytesRead, buffer } = await file.read(Buffer.alloc(64 * 1024 * 1024), 0, undefined, at);
	const block = buffer.subarray(0, bytesRead);
	md5.update(block);
	const part = await client.uploads.parts.create(upload.id, { data: await toFile(block, "part") });
	ids.push(part.id);
	at += bytesRead;
}
const done = await client.uploads.complete(upload.id, { part_ids: ids, md5: md5.digest("hex") });
if (done.file.bytes !== size)
	throw new Error("not all bytes are there");
