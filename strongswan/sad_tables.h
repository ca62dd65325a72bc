/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The database's tables, for its own files.
 */
#ifndef GIPSEC_SAD_TABLES_H_
#define GIPSEC_SAD_TABLES_H_

#include "sad.h"

#include <collections/hashtable.h>
#include <threading/rwlock.h>

extern rwlock_t *sad_lock;
/** By SPI and protocol, and of outbound ones the destination. */
extern hashtable_t *sad_inbound, *sad_outbound;

/** Under the lock. */
sa_t *sad_find_inbound(uint32_t spi, uint8_t protocol);

/** SPIs and CPIs that charon has reserved. */
void sad_numbers_create(void);
void sad_numbers_destroy(void);

/** Gives a reserved SPI (network order) back; false: it is not. Under the lock. */
bool sad_release(uint32_t spi);

/** Tells charon after so many seconds, unless the SA is gone by then; 0: never. */
void sad_schedule(sa_t *sa, uint64_t seconds, bool hard);

#endif
