// The official client: openai.mjs MODULE SERVICE ORIGIN KEY FILE. SERVICE: openai, azure, azure-v1.
// FILE has 30 lines. Files that are called retry-… are answered badly at first, by the test's fault rules.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { run } from "./steps.mjs";

const [module, service, origin, key, path] = process.argv.slice(2);
const { default: OpenAI, AzureOpenAI, toFile } = await import(module);
const azure = service !== "openai";
const bases = { openai: "/v1", azure: "/openai", "azure-v1": "/openai/v1" };

function connect(apiKey) {
	const options = { apiKey, timeout: 20000, maxRetries: 3 };
	return service === "azure"
		? new AzureOpenAI({ ...options, endpoint: origin, apiVersion: "2024-10-21" })
		: new OpenAI({ ...options, baseURL: origin + bases[service] });
}

const client = connect(key);
const bytes = readFileSync(path);
const md5 = createHash("md5").update(bytes).digest("hex");
const purpose = "fine-tune";
const remove = (id) => (client.files.del ?? client.files.delete).call(client.files, id);
const spec = (filename, size = bytes.length) =>
	({ filename, purpose, bytes: size, mime_type: "text/jsonl" });
const part = async (upload, data, name = "part") =>
	client.uploads.parts.create(upload.id, { data: await toFile(data, name) });

async function publish(filename) {
	const upload = await client.uploads.create(spec(filename));
	const { id } = await part(upload, bytes);
	return client.uploads.complete(upload.id, { part_ids: [id], md5 });
}

async function content(id) {
	return Buffer.from(await (await client.files.content(id)).arrayBuffer());
}

async function refused(promise, type, status) {
	const error = await promise.then(() => assert.fail("not refused"), (e) => e);
	assert.ok(error instanceof OpenAI[type], `${error.constructor.name}: ${error.message}`);
	assert.equal(error.status, status);
	return error;
}

function isFile(file, filename, fresh = false) {
	assert.equal(file.object, "file");
	assert.equal(file.filename, filename);
	assert.equal(file.purpose, purpose);
	// Azure looks at a File that has just been completed for a while.
	assert.equal(file.bytes, azure && fresh ? null : bytes.length);
	assert.equal(file.status, azure && fresh ? "pending" : "processed");
	assert.ok(Math.abs(Date.now() / 1000 - file.created_at) < 120);
}

let upload, parts, done, whole;
await run({
	async "create an Upload"() {
		upload = await client.uploads.create(spec("one.jsonl"));
		assert.equal(upload.object, "upload");
		assert.equal(upload.status, "pending");
		assert.equal(upload.bytes, bytes.length);
		assert.equal(upload.expires_at - upload.created_at, azure ? 7200 : 3600);
		assert.equal(upload.file, undefined);
	},
	async "add Parts in parallel, the last first"() {
		const size = Math.ceil(bytes.length / 5);
		const pieces = [0, 1, 2, 3, 4].map((i) => bytes.subarray(i * size, (i + 1) * size));
		parts = (await Promise.all(pieces.reverse().map((x) => part(upload, x)))).reverse();
		for (const x of parts) {
			assert.equal(x.object, "upload.part");
			assert.equal(x.upload_id, upload.id);
			assert.equal(typeof x.azure_block_id, azure ? "string" : "undefined");
		}
		assert.equal(new Set(parts.map((x) => x.id)).size, 5);
	},
	async "complete, with an MD5"() {
		done = await client.uploads.complete(upload.id, { part_ids: parts.map((x) => x.id), md5 });
		assert.equal(done.id, upload.id);
		assert.equal(done.status, "completed");
		isFile(done.file, "one.jsonl", true);
	},
	async "retrieve the File"() {
		isFile(await client.files.retrieve(done.file.id), "one.jsonl");
	},
	async "download its content"() {
		assert.ok(bytes.equals(await content(done.file.id)));
	},
	async "nothing may be added to a completed Upload"() {
		await refused(part(upload, bytes), "BadRequestError", 400);
		await refused(client.uploads.complete(upload.id, { part_ids: parts.map((x) => x.id) }),
			"BadRequestError", 400);
		await refused(client.uploads.cancel(upload.id), "BadRequestError", 400);
	},
	async "a Part from a stream"() {
		const other = await client.uploads.create(spec("two.jsonl"));
		const { id } = await client.uploads.parts.create(other.id, { data: createReadStream(path) });
		const { file } = await client.uploads.complete(other.id, { part_ids: [id] });
		assert.ok(bytes.equals(await content(file.id)));
	},
	async "cancel"() {
		const other = await client.uploads.create(spec("gone.jsonl"));
		await part(other, bytes);
		const gone = await client.uploads.cancel(other.id);
		assert.equal(gone.status, "cancelled");
		await refused(part(other, bytes), "BadRequestError", 400);
	},
	async "a wrong size, MD5, or Part is refused"() {
		const other = await client.uploads.create(spec("bad.jsonl", bytes.length + 1));
		const { id } = await part(other, bytes);
		await refused(client.uploads.complete(other.id, { part_ids: [id] }), "BadRequestError", 400);
		const third = await client.uploads.create(spec("bad.jsonl"));
		const mine = await part(third, bytes);
		for (const body of [{ part_ids: [mine.id], md5: "0".repeat(32) }, { part_ids: [id] },
			{ part_ids: [mine.id, mine.id] }, { part_ids: [] }])
			await refused(client.uploads.complete(third.id, body), "BadRequestError", 400);
		await client.uploads.complete(third.id, { part_ids: [mine.id], md5 });
	},
	async "upload a whole File"() {
		whole = await client.files.create({ file: createReadStream(path), purpose });
		isFile(whole, path.split("/").pop());
		assert.ok(bytes.equals(await content(whole.id)));
	},
	async "upload a whole File from memory, with a name of its own"() {
		const file = await client.files.create({ file: await toFile(bytes, "ü 'q' % .jsonl"), purpose });
		isFile(file, "ü 'q' % .jsonl");
	},
	async "with an end"() {
		const file = await client.files.create({
			file: await toFile(bytes, "short.jsonl"), purpose,
			expires_after: { anchor: "created_at", seconds: 7200 },
		});
		assert.equal(file.expires_at - file.created_at, 7200);
		const other = await client.uploads.create({
			...spec("short.jsonl"), expires_after: { anchor: "created_at", seconds: 3600 },
		});
		const { id } = await part(other, bytes);
		const { file: made } = await client.uploads.complete(other.id, { part_ids: [id] });
		assert.equal(made.expires_at - made.created_at, 3600);
	},
	async "the end that Files of batch have"() {
		const file = await client.files.create({ file: await toFile(bytes, "b.jsonl"), purpose: "batch" });
		assert.equal(file.expires_at, azure ? undefined : file.created_at + 30 * 86400);
		await remove(file.id);
	},
	async "list all Files, page by page"() {
		const all = [];
		// 4.60 looks at one page only.
		const limit = module === "openai4" ? 10000 : 2;
		for await (const file of client.files.list({ limit, order: "asc" }))
			all.push(file);
		assert.equal(new Set(all.map((x) => x.id)).size, all.length);
		assert.deepEqual(all.map((x) => x.filename).sort(), ["bad.jsonl", "lines.jsonl", "one.jsonl",
			"short.jsonl", "short.jsonl", "two.jsonl", "ü 'q' % .jsonl"]);
		const times = all.map((x) => x.created_at);
		assert.deepEqual(times, [...times].sort());
	},
	async "list the Files of a purpose"() {
		assert.equal((await client.files.list({ purpose: "assistants" })).data.length, 0);
		assert.equal((await client.files.list({ purpose })).data.length, 7);
	},
	async "delete"() {
		const gone = await remove(whole.id);
		assert.deepEqual(gone, { id: whole.id, object: "file", deleted: true });
		await refused(client.files.retrieve(whole.id), "NotFoundError", 404);
		await refused(remove(whole.id), "NotFoundError", 404);
	},
	async "errors say what was wrong"() {
		const bad = await refused(client.uploads.create({ ...spec("x.jsonl"), purpose: "nonsense" }),
			"BadRequestError", 400);
		assert.match(bad.message, /'nonsense' is not one of/);
		assert.equal(bad.code, azure ? "invalidPayload" : null);
		const end = await refused(client.uploads.create({
			...spec("x.jsonl"), expires_after: { anchor: "created_at", seconds: 1 },
		}), "BadRequestError", 400);
		if (!azure) {
			assert.equal(end.param, "expires_after.seconds");
			assert.equal(end.type, "invalid_request_error");
		}
		const none = await refused(client.files.retrieve("file-none"), "NotFoundError", 404);
		assert.equal(none.code, azure ? "notFound" : null);
		const key = await refused(connect("sk-wrong").files.list(), "AuthenticationError", 401);
		assert.equal(key.code, azure ? "unauthorized" : "invalid_api_key");
		assert.match(none.requestID ?? none.request_id ?? none.headers?.["x-request-id"], /^req_/);
	},
	async "what is refused or lost once is tried again"() {
		isFile((await publish("retry-1.jsonl")).file, "retry-1.jsonl", true);
	},
});
