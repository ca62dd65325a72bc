/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The database's tables, for its own two files.
 */
#ifndef GIPSEC_SAD_TABLES_H_
#define GIPSEC_SAD_TABLES_H_

#include "sad.h"

#include <collections/hashtable.h>
#include <threading/rwlock.h>

extern rwlock_t *sad_lock;
/** By SPI and protocol, and of outbound ones the destination. */
extern hashtable_t *sad_inbound, *sad_outbound;

/** Tells charon after so many seconds, unless the SA is gone by then; 0: never. */
void sad_schedule(sa_t *sa, uint64_t seconds, bool hard);

#endif
