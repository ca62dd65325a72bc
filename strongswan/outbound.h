/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From the TUN device to the network: a worker reads, cuts, finds the SA, encapsulates and sends, and then reads again. What
 * it does not get to waits in the device, which is short.
 */
#ifndef GIPSEC_OUTBOUND_H_
#define GIPSEC_OUTBOUND_H_

#include <stdbool.h>
#include <stddef.h>

typedef struct outbound_t outbound_t;

outbound_t *outbound_create(size_t worker, unsigned mtu);
void outbound_destroy(outbound_t *this);

/** Takes what the device has, up to some batches. False: the device is gone. */
bool outbound_run(outbound_t *this);

#endif
