/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Addresses that peers gave us, and that went with the TUN device.
 */
#ifndef GIPSEC_VIRTUAL_IPS_H_
#define GIPSEC_VIRTUAL_IPS_H_

#include <daemon.h>

/** Gives an address to an interface that was made anew: charon takes it for there. Logs what is wrong. */
void virtual_ip_restore(host_t *address, unsigned interface);

#endif
