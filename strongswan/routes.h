/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Routes that bring packets to policies: into the TUN device what is protected or dropped. What passes needs none: either no
 * other policy's route takes it, or it comes to the TUN device and goes on from there.
 */
#ifndef GIPSEC_ROUTES_H_
#define GIPSEC_ROUTES_H_

#include <daemon.h>

bool routes_create(void);
void routes_destroy(void);

/** A route for the destinations of an outbound policy, once however many policies want it; each that had true gives it
 *  back. `outer` is our address of its SA, if any. False: there shall be none. While it cannot be installed, because we have no
 *  address yet or the TUN device is being made, it is tried again and again. */
bool route_add(traffic_selector_t *src, traffic_selector_t *dst, host_t *outer);
void route_delete(traffic_selector_t *dst);

/** Installs all of them again, soon, after the TUN device was made anew. */
void routes_reinstall(void);

#endif
