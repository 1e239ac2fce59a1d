/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The allocator of the test's process, one that counts and fails when it is told to: for the test
 * and every library it uses. For one test per executable. With AddressSanitizer what libc itself
 * allocates (strdup, asprintf) is neither counted nor made to fail, so counts mean nothing there
 * (ALLOC_COUNTS 0) and leaks are the sanitizer's to find; with ThreadSanitizer nothing is
 * (ALLOC_FAILS 0).
 */

#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>

#if defined(__has_feature)
#define ALLOC_FEATURE(x) __has_feature(x)
#else
#define ALLOC_FEATURE(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || ALLOC_FEATURE(thread_sanitizer)
#define ALLOC_FAILS 0
#define ALLOC_COUNTS 0
#elif defined(__SANITIZE_ADDRESS__) || ALLOC_FEATURE(address_sanitizer)
#define ALLOC_FAILS 1
#define ALLOC_COUNTS 0
#define ALLOC_REAL(name) __interceptor_##name
#else
#define ALLOC_FAILS 1
#define ALLOC_COUNTS 1
#define ALLOC_REAL(name) __libc_##name
#endif

/* Allocations until the one that fails; negative: none does. */
static long alloc_fail_at __attribute__((unused)) = -1;
/* Not freed: allocations, and bytes of them. Other threads count too. */
static long alloc_live __attribute__((unused)), alloc_bytes __attribute__((unused));

#if ALLOC_FAILS
void *ALLOC_REAL(malloc)(size_t n);
void *ALLOC_REAL(calloc)(size_t n, size_t size);
void *ALLOC_REAL(realloc)(void *p, size_t n);
void ALLOC_REAL(free)(void *p);

static inline bool alloc_fails(void)
{
	return alloc_fail_at >= 0 && alloc_fail_at-- == 0;
}

static inline void alloc_count(void *p, long sign)
{
	if (!p || !ALLOC_COUNTS)
		return;
	__atomic_add_fetch(&alloc_live, sign, __ATOMIC_RELAXED);
	__atomic_add_fetch(&alloc_bytes, sign * (long)malloc_usable_size(p), __ATOMIC_RELAXED);
}

void *malloc(size_t n)
{
	void *p = alloc_fails() ? NULL : ALLOC_REAL(malloc)(n);

	alloc_count(p, 1);
	return p;
}

void *calloc(size_t n, size_t size)
{
	void *p = alloc_fails() ? NULL : ALLOC_REAL(calloc)(n, size);

	alloc_count(p, 1);
	return p;
}

void *realloc(void *old, size_t n)
{
	void *p;

	if (alloc_fails())
		return NULL;
	alloc_count(old, -1);
	p = ALLOC_REAL(realloc)(old, n);
	/* what could not be moved is still there; of size 0 it is freed */
	alloc_count(p || !n ? p : old, 1);
	return p;
}

void free(void *p)
{
	alloc_count(p, -1);
	ALLOC_REAL(free)(p);
}
#endif
