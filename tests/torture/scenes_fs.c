/* The scenes of fs, which stands on the service in memory (tests/unit/fake_api.h). */
#include "tests/torture/scenes.h"
#include "tests/torture/torture.h"

#define BUT_THREADS ((1U << INJECT_THREAD) - 1)
#define MEMORY (1U << INJECT_ALLOC)
#define THREADS (1U << INJECT_THREAD)

const struct scene torture_scenes[] = {
	{ "store", scene_store, BUT_THREADS | THREADS },
	{ "recover", scene_recover, 0 },
	{ "stage", scene_stage, 0 },
	{ "publish", scene_publish, 0 },
	{ "fetch", scene_fetch, 0 },
	{ "texts", scene_texts, MEMORY },
	{ "whole", scene_whole, 0 },
	{ "vfs", scene_vfs, BUT_THREADS | THREADS },
	{ 0 },
};
