/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The threads of the packet path: each has a queue of the TUN device, and sockets of its own.
 */
#ifndef GIPSEC_WORKERS_H_
#define GIPSEC_WORKERS_H_

#include <stdbool.h>
#include <stddef.h>

/** Starts them; two threads each, one for either direction. */
bool workers_create(size_t count, unsigned mtu);

/** Ends them, after what they are at. */
void workers_destroy(void);

#endif
