/* limits: the largest staged file. */
#ifndef UPLOADFS_FS_STAGE_LIMITS_H
#define UPLOADFS_FS_STAGE_LIMITS_H

#define STAGED_SIZE_MAX (8ULL << 30) /* bytes; an Upload cannot be larger (API_UPLOAD_MAX) */

#endif
