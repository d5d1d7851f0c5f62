/*
 * The pages of a fetch, kept until they are shown.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/remote/listing_impl.h"
#include "net/base/log.h"

#define FILES_MAX 10000000 /* more would be a server that pages for ever */
#define PAGES_MAX 20000	   /* and so would these, with next to nothing on each */

void listing_drop_pages(struct listing *l)
{
	for (size_t i = 0; i < l->page_count; i++) {
		l->before += l->pages[i].count;
		free(l->pages[i].files);
		free(l->pages[i].text);
	}
	free(l->pages);
	l->pages = NULL;
	l->page_count = 0;
}

/* The Files of the page are ours from now on. */
int listing_keep(struct listing *l, const struct api_file_page *page)
{
	struct listing_page *grown;

	/* The last page shown is kept, for resume(). */
	if (l->first)
		listing_drop_pages(l);
	grown = realloc(l->pages, (l->page_count + 1) * sizeof(*grown));
	if (!grown || page->count > FILES_MAX - l->count || l->pages_seen >= PAGES_MAX) {
		free(page->files);
		free(page->text);
		if (!grown)
			return -ENOMEM;
		l->pages = grown;
		log_error("the service lists more than %u Files, or more than %u pages: the list "
			  "is not taken; -o purpose= asks for fewer",
			  FILES_MAX, PAGES_MAX);
		return -EOVERFLOW;
	}
	l->pages = grown;
	l->pages_seen++;
	grown[l->page_count++] = (struct listing_page){ page->count, page->files, page->text };
	l->count += page->count;
	return 0;
}

/* Returns the kept File at place n. */
const struct api_file *listing_kept(const struct listing *l, size_t n)
{
	size_t p = 0;

	while (n >= l->pages[p].count)
		n -= l->pages[p++].count;
	return &l->pages[p].files[n];
}
