/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unreachable routes behind those into the TUN device: when the device goes, because charon has died or somebody has
 * removed it, packets must not take another way, unprotected.
 */
#ifndef GIPSEC_UNREACHABLE_H_
#define GIPSEC_UNREACHABLE_H_

#include <daemon.h>

/** Removes routes that another charon left; logs what is wrong. */
void unreachable_create(void);
void unreachable_destroy(void);

/** Adds or removes the route to a network; nothing, when they are not wanted. */
void unreachable_add(chunk_t net, uint8_t prefix);
void unreachable_delete(chunk_t net, uint8_t prefix);

#endif
