/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What strongSwan's headers expect from the configuration that charon itself was built with, and what differs between
 * its versions. The compiler reads this file before any other (-include).
 */
#ifndef GIPSEC_COMPAT_H_
#define GIPSEC_COMPAT_H_

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

/* As Debian configures 5.9.8. Of these only ME changes the layout of structures, behind what is used of them: plugin.c asserts
 * that. */
#define CONFIG_H_INCLUDED
#define ME
#define HAVE__BOOL
#define HAVE_SIGWAITINFO
#define HAVE_EXPLICIT_BZERO
#define HAVE_CLOSEFROM
#define HAVE_MEMRCHR
#define HAVE_FMEMOPEN
#define HAVE_CLOCK_GETTIME
#define HAVE_CONDATTR_CLOCK_MONOTONIC
#define HAVE_INT128

/* STRONGSWAN_VERSION_NUMBER comes from the build: 50908 is 5.9.8, 60003 is 6.0.3. */
#ifndef STRONGSWAN_VERSION_NUMBER
#error "STRONGSWAN_VERSION_NUMBER is not set; CMake reads it from the strongSwan sources"
#endif

/* From 5.9.10 on charon asks SAs when they were used, if they know, instead of policies. */
#if STRONGSWAN_VERSION_NUMBER >= 50910
#define GIPSEC_SA_USE_TIME KERNEL_SA_USE_TIME
#else
#define GIPSEC_SA_USE_TIME 0
#endif

/* From 6.0.2 on an acquire may be for one processor: ours are for all. */
#if STRONGSWAN_VERSION_NUMBER >= 60002
#define GIPSEC_ANY_PROCESSOR , .cpu = CPU_ID_MAX
#else
#define GIPSEC_ANY_PROCESSOR
#endif

/* From 6.0.3 on the loader asks every plugin for the version it was built for. Structures that have grown since 5.9.8 are
 * used by the names of their members alone. */
#define GIPSEC_HAS_PLUGIN_VERSION (STRONGSWAN_VERSION_NUMBER >= 60003)

#endif
