// The AI SDK's provider for OpenAI: ai-sdk.mjs ORIGIN KEY FILE. It knows whole Files, no Uploads.
import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, uploadFile } from "ai";
import { run, text } from "./steps.mjs";

const [origin, key, path] = process.argv.slice(2);
const provider = createOpenAI({ apiKey: key, baseURL: origin + "/v1" });
const bytes = readFileSync(path);
const files = provider.files();
const openai = (options) => ({ providerOptions: { openai: options } });

async function refused(promise, status) {
	const error = await promise.then(() => assert.fail("not refused"), (e) => e);
	assert.ok(APICallError.isInstance(error), String(error));
	assert.equal(error.statusCode, status);
	return error;
}

let made;
await run({
	async "upload from memory"() {
		made = await uploadFile({ api: provider, data: bytes, filename: "a.jsonl",
			mediaType: "application/jsonl", ...openai({ purpose: "fine-tune" }) });
		assert.match(made.providerReference.openai, /^file-/);
		assert.equal(made.filename, "a.jsonl");
		assert.equal(made.byteSize, bytes.length);
		assert.equal(made.expiresAt, undefined);
		assert.ok(Math.abs(Date.now() - made.createdAt) < 120000);
	},
	async "upload a stream, with an end"() {
		const file = await uploadFile({
			api: provider, filename: "s.jsonl", mediaType: "application/jsonl",
			data: { type: "stream", stream: Readable.toWeb(createReadStream(path)) },
			...openai({ purpose: "batch", expiresAfter: 7200 }),
		});
		assert.equal(file.byteSize, bytes.length);
		assert.equal(file.expiresAt - file.createdAt, 7200 * 1000);
	},
	async "upload without a name or purpose"() {
		const file = await uploadFile({ api: provider, data: { type: "text", text: "words\n" } });
		assert.equal(file.byteSize, 6);
		const shown = await files.getFileMetadata({ file: file.providerReference });
		assert.equal(shown.filename, file.filename);
	},
	async "metadata"() {
		const shown = await files.getFileMetadata({ file: made.providerReference });
		assert.equal(shown.filename, "a.jsonl");
		assert.equal(shown.byteSize, bytes.length);
		assert.equal(shown.providerReference.openai, made.providerReference.openai);
	},
	async "download"() {
		const { content } = await files.downloadFile({ file: made.providerReference });
		assert.equal(await text(content), bytes.toString());
	},
	async "delete"() {
		assert.equal((await files.deleteFile({ file: made.providerReference })).deleted, true);
		await refused(files.getFileMetadata({ file: made.providerReference }), 404);
	},
	async "a refusal"() {
		const error = await refused(uploadFile({ api: provider, data: bytes, filename: "x",
			...openai({ purpose: "nonsense" }) }), 400);
		assert.match(error.message, /'nonsense' is not one of/);
		await refused(uploadFile({ api: provider, data: bytes, filename: "x",
			...openai({ purpose: "batch", expiresAfter: 1 }) }), 400);
	},
});
