#include "net/base/near.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

unsigned near_distance(const char *typed, const char *word)
{
	unsigned row[NEAR_MAX + 1], diagonal, above, i, j;
	size_t len = strlen(word);

	if (len > NEAR_MAX || strlen(typed) > NEAR_MAX)
		return NEAR_FAR;
	for (j = 0; j <= len; j++)
		row[j] = j;
	for (i = 0; typed[i]; i++) {
		diagonal = row[0];
		row[0] = i + 1;
		for (j = 0; j < len; j++) {
			above = row[j + 1];
			row[j + 1] = least(diagonal + !same(typed[i], word[j]),
					   least(above, row[j]) + 1);
			diagonal = above;
		}
	}
	return row[len] <= 1 + strlen(typed) / 4 ? row[len] : NEAR_FAR;
}

const char *near_word(const char *typed, const char *const *list)
{
	unsigned best = NEAR_FAR, d;
	const char *near = NULL;

	for (; *list; list++) {
		d = near_distance(typed, *list);
		if (d < best) {
			best = d;
			near = *list;
		}
	}
	return near;
}
