/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Fragments (RFC 791, RFC 8200 section 4.5): packets are cut for a path that takes less, and those that this system has
 * cut before a transport mode SA saw them are put together again (RFC 4303 section 3.1.1: ESP comes before fragmentation).
 */
#ifndef GIPSEC_FRAGMENT_H_
#define GIPSEC_FRAGMENT_H_

#include "ip.h"

/** Cuts a packet into fragments of at most `mtu` bytes, and gives each to `take`, also when it says that it is to stay
 *  whole: that is for the caller to know. `id` identifies the fragments of IPv6, and of an IPv4 packet without an
 *  identification. False: it cannot be cut, or `take` returned false. `fragment` has room for `mtu` bytes. */
bool fragment_cut(const uint8_t *packet, const flow_t *flow, size_t mtu, uint32_t id, uint8_t *fragment,
				  bool (*take)(void *context, const uint8_t *fragment, size_t length), void *context);

/** Packets that are being put together; of one queue, in which fragments are in order. */
typedef struct reassembly_t reassembly_t;

reassembly_t *reassembly_create(void);
void reassembly_destroy(reassembly_t *this);

/** Seconds that a packet waits for its next fragment: this system hands them over one after the other. */
#define REASSEMBLY_PATIENCE 1

/** Begins a packet with its first fragment; the oldest one that is waiting makes room. Any other fragment is dropped.
 *  `now` is in seconds, of a clock that does not go back. */
void reassembly_begin(reassembly_t *this, const uint8_t *fragment, const flow_t *flow, int64_t now);

/** What became of a later fragment. */
typedef enum assembled_t {
	/** Its packet has not been begun. */
	ASSEMBLED_NOT,
	/** There is more to come; or it did not follow the one before, and all of the packet is dropped. */
	ASSEMBLED_PART,
	/** The packet is whole. */
	ASSEMBLED_WHOLE,
} assembled_t;

/** Adds a later fragment; a whole packet is at `packet` until the next call. */
assembled_t reassembly_add(reassembly_t *this, const uint8_t *fragment, const flow_t *flow, int64_t now,
						   uint8_t **packet, size_t *length);

#endif
