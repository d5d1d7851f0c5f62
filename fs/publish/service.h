/*
 * service: what the publisher learned of the service. Publisher thread, but publish_service_load().
 */
#ifndef UPLOADFS_FS_PUBLISH_SERVICE_H
#define UPLOADFS_FS_PUBLISH_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

struct api_error;
struct publisher;

/* Read what earlier mounts learned. Before the thread starts. 0 or negative errno. */
int publish_service_load(struct publisher *pr);
/* Note the Date of a reply, good or bad. */
void publish_service_note_date(struct publisher *pr, const struct api_error *err);
/* The service's clock now, seconds, from its last Date: ours may be set at any time. 0: unknown. */
int64_t publish_service_time(const struct publisher *pr);
/*
 * Note that a complete, never in doubt, gave the File the created_at of its Upload, or another one.
 * open_ms: the Upload's age then. The same second proves little of a young one: it counts once
 * the ages of all add up to seven seconds. Keeps a change durably; blocks on the local disk then.
 */
void publish_service_note_created(struct publisher *pr, bool with_upload, uint64_t open_ms);

#endif
