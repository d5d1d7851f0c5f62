/* near: typing errors lead to the word that was meant, and other words to none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/base/near.h"

static const char *const words[] = { "status", "wait", "umount", "mounts", "fine-tune", NULL };

static void test_words(void **state)
{
	static const struct {
		const char *typed, *word;
	} cases[] = { { "statsu", "status" },	   { "STATUS", "status" }, { "stat", "status" },
		      { "waits", "wait" },	   { "umont", "umount" },  { "mount", "umount" },
		      { "finetune", "fine-tune" }, { "", NULL },	   { "training", NULL } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *near = near_word(cases[i].typed, words);

		if (cases[i].word)
			assert_string_equal(near, cases[i].word);
		else
			assert_null(near);
	}
}

static void test_long_words(void **state)
{
	char text[NEAR_MAX + 2];

	(void)state;
	memset(text, 'a', sizeof(text));
	text[NEAR_MAX] = '\0';
	assert_int_equal(near_distance(text, text), 0);
	text[NEAR_MAX] = 'a';
	text[NEAR_MAX + 1] = '\0';
	assert_int_equal(near_distance(text, "a"), NEAR_FAR);
	assert_int_equal(near_distance("a", text), NEAR_FAR);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_long_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
