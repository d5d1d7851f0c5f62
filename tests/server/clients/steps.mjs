import * as buffer from "node:buffer";

// Node 18, as Debian has it, keeps it there only.
globalThis.File ??= buffer.File;

// Runs named steps one after the other; prints "ok NAME" for each, and ends with 1 at the first that fails.
export async function run(steps) {
	for (const [name, step] of Object.entries(steps)) {
		try {
			await step();
		} catch (error) {
			console.error(`failed: ${name}`);
			console.error(error);
			process.exit(1);
		}
		console.log(`ok ${name}`);
	}
}

export async function text(stream) {
	let all = "";
	const decoder = new TextDecoder();
	for await (const piece of stream)
		all += typeof piece === "string" ? piece : decoder.decode(piece, { stream: true });
	return all;
}
