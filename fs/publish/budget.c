#include "fs/publish/budget.h"

void publish_budget_start(struct publish_budget *b, uint64_t now_ms)
{
	b->spent_ms = 0;
	b->seen_ms = now_ms;
}

void publish_budget_note(struct publish_budget *b, uint64_t now_ms, uint64_t retrying_ms)
{
	uint64_t from = retrying_ms < now_ms ? now_ms - retrying_ms : 0, good;

	if (!retrying_ms || now_ms <= b->seen_ms)
		return;
	if (from < b->seen_ms)
		from = b->seen_ms;
	good = from - b->seen_ms;
	b->spent_ms = b->spent_ms > good ? b->spent_ms - good : 0;
	b->spent_ms += now_ms - from;
	b->seen_ms = now_ms;
}

bool publish_budget_over(const struct publish_budget *b, uint64_t limit_ms)
{
	return limit_ms && b->spent_ms > limit_ms;
}
