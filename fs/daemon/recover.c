#include "fs/daemon/recover.h"

#include <errno.h>
#include <string.h>

#include "fs/state/data.h"
#include "fs/state/files.h"
#include "fs/stage/area.h"
#include "fs/stage/file.h"
#include "fs/vfs/vfs.h"
#include "net/base/log.h"

struct recovery {
	struct staging *sg;
	struct vfs *s;
	unsigned found, damaged;
};

static void set_aside(struct recovery *rc, const char *id, int err)
{
	int r = staging_set_aside(rc->sg, id);

	rc->damaged++;
	log_error(DATA_DIR "/%s: its record can't be used (%s); set aside in " DATA_DIR
			   "/" DATA_DAMAGED "%s",
		  id, strerror(-err), r ? ", or rather left where it is" : "");
}

static int one(void *arg, const char *id)
{
	struct recovery *rc = arg;
	struct staged *st;
	struct record r;
	int err;

	record_init(&r);
	err = staged_open(rc->sg, id, &r, &st);
	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	/* Its File exists, and its bytes are in the cache: nothing is left to do. */
	if (err == -ENOENT)
		return 0;
	if (err) {
		set_aside(rc, id, err);
		return 0;
	}
	err = vfs_adopt(rc->s, st, &r);
	if (err == -EBADMSG || err == -EINVAL)
		set_aside(rc, id, err);
	else if (err == -EXDEV)
		log_warn("%s/%s waits in " DATA_DIR "/%s for a mount that shows its purpose",
			 r.purpose, r.path, id);
	else if (!err)
		rc->found++;
	record_release(&r);
	return err == -ENOMEM ? err : 0;
}

int recover_all(struct staging *sg, struct vfs *s)
{
	struct recovery rc = { .sg = sg, .s = s };
	int err = staging_scan(sg, one, &rc);

	if (err)
		log_error("the staged files of the last mount can't be taken up: %s",
			  strerror(-err));
	if (rc.found || rc.damaged)
		log_info("recovered %u staged file%s, %u damaged set aside", rc.found,
			 rc.found == 1 ? "" : "s", rc.damaged);
	return err;
}
