/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Large segments: what a TUN device hands out as one packet of up to 64 KiB is cut into packets for the wire, and what
 * came from the wire in order is joined, so that one system call carries many packets.
 */
#ifndef GIPSEC_SEGMENT_H_
#define GIPSEC_SEGMENT_H_

#include "ip.h"

#include <linux/virtio_net.h>
#include <sys/uio.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/** Packets that are joined at most. */
#define JOIN_MAX 64

/** A packet that is being cut. */
typedef struct splitter_t {
	const uint8_t *packet;
	flow_t flow;
	/** Bytes of all headers, of payload in each segment, and of payload that was given. */
	size_t headers, size, at;
	uint16_t id;
} splitter_t;

/** Begins to cut; false: the kernel's description does not fit the packet. A packet that is not to be cut is given whole,
 *  once, with its checksum made right. */
bool split_begin(splitter_t *this, const struct virtio_net_hdr *hdr, uint8_t *packet, const flow_t *flow);

/** Bytes of the largest segment. */
size_t split_largest(const splitter_t *this);

/** Writes the next segment; its length, 0 after the last one or when `room` is too small. */
size_t split_next(splitter_t *this, uint8_t *segment, size_t room);

/** Packets that go to the TUN device as one. */
typedef struct joined_t {
	struct virtio_net_hdr hdr;
	/** The header above first. */
	struct iovec iov[JOIN_MAX + 1];
	int count;
} joined_t;

/** A packet to be joined with others. */
typedef struct piece_t {
	uint8_t *packet;
	flow_t flow;
} piece_t;

/** Joins as many packets from the front as go together, at least one; how many. The first one's headers are changed. */
size_t join(piece_t *pieces, size_t count, joined_t *joined);

#endif
