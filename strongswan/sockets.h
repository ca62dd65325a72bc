/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How protected packets leave and come: over the UDP ports that charon listens at, and as ESP and AH in IP.
 *
 * Charon's own UDP socket stays charon's: a filter in the kernel hands IKE to it, and ESP to sockets of ours beside it, one
 * for each worker.
 */
#ifndef GIPSEC_SOCKETS_H_
#define GIPSEC_SOCKETS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/** Sockets of a worker that packets come from. */
typedef enum source_t {
	FROM_UDP4,
	FROM_UDP6,
	/** Of the first worker alone. */
	FROM_ESP4,
	FROM_ESP6,
	FROM_AH4,
	FROM_AH6,
	SOURCES,
} source_t;

/** Opens them; what they send has this mark, for which there are no routes to policies. */
bool sockets_create(size_t workers, uint32_t mark);
void sockets_destroy(void);

/** Charon's socket takes part: its packets go past policies. */
bool sockets_bypass(int fd);

/** Charon's socket for UDP encapsulation: ESP goes to us from now on. */
bool sockets_share(int fd, int family, uint16_t port);

/** The descriptor, or -1; it may come, but never goes, while workers run. */
int sockets_source(size_t worker, source_t source);

/** For whole IP packets of a family, past policies. */
int sockets_raw(int family);

/** An event that ends waiting: readable when a descriptor has come, or workers are to end. */
void sockets_on_change(void (*changed)(void));

#endif
