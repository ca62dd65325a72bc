/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table of nftables that drops plain packets where an inbound policy wants protection, in the words of nft(8).
 */
#ifndef GIPSEC_PLAIN_TABLE_H_
#define GIPSEC_PLAIN_TABLE_H_

#include <stdio.h>

/** Writes the commands that replace the table by one for the policies as they are now. */
void plain_write(FILE *to, const char *table);

#endif
