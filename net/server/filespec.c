/* filespec: see filespec.h. */
#include "net/server/filespec.h"

#include <string.h>

#include "net/server/model.h"

#define EXPIRY_MIN 3600
#define EXPIRY_MAX 2592000

int file_spec_check(const char *filename, const char *purpose, struct refusal *r)
{
	if (!*filename || strlen(filename) > SERVER_FILENAME_MAX)
		return refuse(r, 400, "filename", NULL,
			      "Invalid 'filename': expected 1 to %d bytes.", SERVER_FILENAME_MAX);
	if (!purpose_valid(purpose))
		return refuse(r, 400, "purpose", NULL,
			      "'%.100s' is not one of ['assistants', 'batch', 'fine-tune', "
			      "'vision', 'user_data', 'evals'] - 'purpose'",
			      purpose);
	return 0;
}

int expiry_check(const char *anchor, uint64_t seconds, struct refusal *r, uint64_t *ret)
{
	if (strcmp(anchor, "created_at"))
		return refuse(r, 400, "expires_after", NULL,
			      "Invalid 'expires_after.anchor': expected 'created_at'.");
	if (seconds < EXPIRY_MIN || seconds > EXPIRY_MAX)
		return refuse(r, 400, "expires_after", NULL,
			      "Invalid 'expires_after.seconds': expected %d to %d.", EXPIRY_MIN,
			      EXPIRY_MAX);
	*ret = seconds;
	return 0;
}
