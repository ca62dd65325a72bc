/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the packet path has to tell charon. Nothing here is called with a lock of ours held by charon's side: each event
 * is a job of charon's own threads.
 */
#ifndef GIPSEC_EVENTS_H_
#define GIPSEC_EVENTS_H_

#include <daemon.h>

/** What is told once a minute at most, however often it happens. */
typedef enum complaint_t {
	COMPLAIN_NOT_IP,
	COMPLAIN_UNKNOWN_SPI,
	COMPLAIN_NO_POLICY,
	COMPLAIN_SPOOFED,
	COMPLAIN_REFUSED,
	COMPLAIN_NO_SA,
	COMPLAIN_TOO_BIG,
	COMPLAIN_SEND,
	COMPLAIN_TUN,
	COMPLAIN_NO_TUN,
	COMPLAIN_DEVICE,
	COMPLAIN_PLAIN,
	COMPLAINTS,
} complaint_t;

/** Logs a sentence, at most once a minute for each kind, with how often it was held back. */
void complain(complaint_t kind, const char *format, ...);

/** An SA must be replaced (soft), or has ended (hard). `spi` in network order. */
void event_expire(uint8_t protocol, uint32_t spi, host_t *dst, bool hard);

/** The other side of an SA now sends from `remote`: its NAT has given it another address or port. */
void event_mapping(uint8_t protocol, uint32_t spi, host_t *dst, host_t *remote);

/** A packet wants an SA: from these selectors it may be, and of this policy. Takes the selectors. */
void event_acquire(uint32_t reqid, traffic_selector_t *src, traffic_selector_t *dst);

#endif
