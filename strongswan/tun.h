/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The TUN device: several queues, and packets of up to 64 KiB in both directions.
 */
#ifndef GIPSEC_TUN_H_
#define GIPSEC_TUN_H_

#include <stdbool.h>
#include <stddef.h>

/** Makes the device and brings it up, with so many queues; logs what is wrong. */
bool tun_create(size_t queues, unsigned mtu);
void tun_destroy(void);

/** Its name, such as "ipsec0". */
char *tun_name(void);

/** Its number, whatever its name is by now; 0: it is gone. */
unsigned tun_index(void);

/** Whether it is still called that. */
bool tun_has_its_name(void);

/** Its MTU, as it was made. */
unsigned tun_mtu(void);

/** The descriptor of a queue, which does not block. */
int tun_queue(size_t number);

/** Makes it again after somebody has removed it. False: it is there, or cannot be made. */
bool tun_recreate(void);

#endif
