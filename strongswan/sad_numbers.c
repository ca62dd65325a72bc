/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * SPIs and CPIs that nobody uses, for inbound SAs to come.
 */
#include "sad_tables.h"

/** What charon has reserved and not used is bounded. */
#define MOST_RESERVED 65536
/** CPIs below are well known or for IANA (RFC 3173). */
#define CPI_MIN 0x100
#define CPI_MAX 0xefff

/** SPIs that charon has and that are no SA's yet. */
static hashtable_t *reserved;
static uint16_t next_cpi;
/** Host order. */
static uint32_t spi_min, spi_max;

static u_int hash_spi(const void *spi)
{
	return ntohl((u_int)(uintptr_t)spi) * 0x9e3779b1u >> 7;
}

static bool same_spi(const void *a, const void *b)
{
	return a == b;
}

static void *spi_key(uint32_t spi)
{
	return (void*)(uintptr_t)spi;
}

void sad_numbers_create(void)
{
	reserved = hashtable_create(hash_spi, same_spi, 64);
	spi_min = (uint32_t)lib->settings->get_int(lib->settings, "%s.spi_min", KERNEL_SPI_MIN, lib->ns);
	spi_max = (uint32_t)lib->settings->get_int(lib->settings, "%s.spi_max", KERNEL_SPI_MAX, lib->ns);
	if (spi_min < 256 || spi_max < spi_min)
	{
		DBG1(DBG_KNL, "spi_min and spi_max leave no SPIs (1 to 255 are reserved): the usual ones are used");
		spi_min = KERNEL_SPI_MIN;
		spi_max = KERNEL_SPI_MAX;
	}
	next_cpi = (uint16_t)(CPI_MIN + random() % (CPI_MAX - CPI_MIN));
}

void sad_numbers_destroy(void)
{
	reserved->destroy(reserved);
}

bool sad_release(uint32_t spi)
{
	return reserved->remove(reserved, spi_key(spi)) != NULL;
}

status_t sad_reserve(uint8_t protocol, uint32_t *spi)
{
	status_t status = FAILED;
	rng_t *rng = lib->crypto->create_rng(lib->crypto, RNG_WEAK);

	if (!rng)
	{
		DBG1(DBG_KNL, "no random numbers for SPIs");
		return FAILED;
	}
	sad_lock->write_lock(sad_lock);
	for (int i = 0; i < 100 && reserved->get_count(reserved) < MOST_RESERVED; i++)
	{
		uint32_t drawn;

		if (!rng->get_bytes(rng, sizeof(drawn), (uint8_t*)&drawn))
		{
			break;
		}
		drawn = htonl((uint32_t)(spi_min + drawn % (spi_max - spi_min + 1ull)));
		if (!reserved->get(reserved, spi_key(drawn)) && !sad_find_inbound(drawn, IPPROTO_ESP) &&
			!sad_find_inbound(drawn, IPPROTO_AH))
		{
			reserved->put(reserved, spi_key(drawn), spi_key(drawn));
			*spi = drawn;
			status = SUCCESS;
			break;
		}
	}
	sad_lock->unlock(sad_lock);
	rng->destroy(rng);
	return status;
}

/** Under the lock. */
static bool has_cpi(uint16_t cpi)
{
	enumerator_t *enumerator = sad_inbound->create_enumerator(sad_inbound);
	bool found = FALSE;
	sa_t *sa;

	while (!found && enumerator->enumerate(enumerator, NULL, &sa))
	{
		found = sa->compresses && sa->cpi == cpi;
	}
	enumerator->destroy(enumerator);
	return found;
}

status_t sad_reserve_cpi(uint16_t *cpi)
{
	status_t status = FAILED;

	sad_lock->write_lock(sad_lock);
	for (int i = CPI_MIN; i <= CPI_MAX && status != SUCCESS; i++)
	{
		*cpi = htons(next_cpi);
		next_cpi = next_cpi == CPI_MAX ? CPI_MIN : next_cpi + 1;
		status = has_cpi(*cpi) ? FAILED : SUCCESS;
	}
	sad_lock->unlock(sad_lock);
	return status;
}
