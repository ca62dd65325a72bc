/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The security associations database: what charon installed, and where the accelerator has it.
 */
#ifndef GIPSEC_SAD_H_
#define GIPSEC_SAD_H_

#include "accel.h"

#include <stdatomic.h>

/** The way of an SA's packets, outside; ports are those of UDP. */
typedef struct path_t {
	struct sockaddr_storage src, dst;
	bool udp;
} path_t;

/** An SA. What is not marked otherwise never changes. */
typedef struct sa_t {
	_Atomic unsigned refs;
	/** Never that of another one. */
	uint64_t id;
	/** Network order. */
	uint32_t spi;
	uint16_t cpi;
	uint8_t protocol;
	bool inbound;
	bool copy_dscp_in;
	/** BEET is not supported. */
	bool transport;
	/** Inflates, so that a packet may be longer than what carried it. */
	bool compresses;
	/** 0: no limit. */
	uint64_t soft_bytes, hard_bytes, soft_packets, hard_packets;
	/** Under the database's lock. */
	uint32_t reqid;
	host_t *src, *dst;
	path_t path;
	accel_sa_t accel;
	/** Of the packet path. */
	_Atomic uint64_t bytes, packets;
	_Atomic int64_t used;
	/** What the outer path leaves inside, and how long that is believed; 0: not known to be limited. */
	_Atomic uint32_t inner_mtu, outer_mtu;
	_Atomic int64_t mtu_until;
	_Atomic bool soft_told, hard_told;
	/** When charon was last told of another address of the peer's. */
	_Atomic int64_t mapping_told;
} sa_t;

/** What a batch of packets needs of an SA: a reference, and its path as it is now. */
typedef struct sa_use_t {
	sa_t *sa;
	path_t path;
	accel_sa_t accel;
	uint32_t reqid;
} sa_use_t;

bool sad_create(void);
void sad_destroy(void);

/** An SPI, or a CPI in the low half, that nobody uses; network order. */
status_t sad_reserve(uint8_t protocol, uint32_t *spi);
status_t sad_reserve_cpi(uint16_t *cpi);

status_t sad_add(kernel_ipsec_sa_id_t *id, kernel_ipsec_add_sa_t *data);
status_t sad_update(kernel_ipsec_sa_id_t *id, kernel_ipsec_update_sa_t *data);
status_t sad_query(kernel_ipsec_sa_id_t *id, uint64_t *bytes, uint64_t *packets, time_t *used);
status_t sad_delete(kernel_ipsec_sa_id_t *id, uint16_t cpi);
void sad_flush(void);

/** Takes an inbound SA, or an outbound one, for a batch; false: there is none. */
bool sad_use_inbound(uint32_t spi, uint8_t protocol, sa_use_t *use);
bool sad_use_outbound(uint32_t spi, uint8_t protocol, host_t *dst, uint32_t reqid, sa_use_t *use);
void sad_done(sa_use_t *use);

/** Counts what went through, and tells charon of limits. An SA that has ended is not found again. */
void sad_count(sa_use_t *use, uint64_t packets, uint64_t bytes);

/** A packet of an inbound SA came, intact, from another address or port. */
void sad_moved(sa_use_t *use, const struct sockaddr_storage *from);

/** Whether addresses and ports are the same. */
bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

/** The path to an address takes no more than that: of the SA with that SPI (network order), or NULL, of all SAs. */
void sad_path_mtu(const struct sockaddr_storage *dst, uint32_t mtu, const uint32_t *spi);

/** The accelerator has lost all SAs: charon is to replace those that there are. */
void sad_replace_all(void);

/** The sequence numbers of an SA are running out. */
void sad_worn_out(const g_ipsec_la_sa_handle *handle);

#endif
