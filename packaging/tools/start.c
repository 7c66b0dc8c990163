/* What runs before main in a static build: relocates the program, and calls the C library.
 *
 * musl's own start code (rcrt1.o) does the same with twice the instructions, and takes a page fault for each page of
 * pointers. In a program that ends after a fraction of a millisecond, that is a third of all instructions and of all
 * faults. The headers are musl's. */
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include "syscall_arch.h"
#include <bits/syscall.h>

#define START "_start"
#include "crt_arch.h"

#define PAGE_MASK ((size_t)4095)
/* Since Linux 5.14. Older kernels refuse it, which does no harm. */
#define MADV_POPULATE_WRITE 23

typedef Elf64_Ehdr Header;
typedef Elf64_Phdr Segment;
typedef Elf64_Rela Rela;

/* The first byte of the program, which the linker defines. */
extern const Header __ehdr_start __attribute__((__visibility__("hidden")));

int main();
void _init(void) __attribute__((__weak__));
void _fini(void) __attribute__((__weak__));
int __libc_start_main(int (*)(), int, char **, void (*)(), void (*)(), void (*)());

/* Apart, so that no address that it needs is loaded before it is relocated. */
__attribute__((__noinline__)) static void call_library(size_t *stack)
{
	__libc_start_main(main, (int)*stack, (char **)(stack + 1), _init, _fini, 0);
}

/* Brings in all pages that will be written, in one call. */
static void populate(const Header *header, size_t base)
{
	const Segment *segment = (const void *)(base + header->e_phoff);
	size_t start = SIZE_MAX, end = 0;
	for (size_t i = header->e_phnum; i--; segment++) {
		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_W)) continue;
		if (segment->p_vaddr < start) start = segment->p_vaddr;
		if (segment->p_vaddr + segment->p_filesz > end) end = segment->p_vaddr + segment->p_filesz;
	}
	if (end == 0) return;
	start = (base + start) & ~PAGE_MASK;
	__syscall3(SYS_madvise, (long)start, (long)(base + end - start), MADV_POPULATE_WRITE);
}

/* Relocates those of seven words that a bitmap selects. Each of the 128 bitmaps has a case of its own, so that one jump
 * serves seven words. */
static inline __attribute__((__always_inline__)) void relocate_seven(size_t *words, size_t bitmap, size_t base)
{
#define WORD(bits, n) if ((bits) >> (n) & 1) words[n] += base
#define CASE(bits) \
	case bits: \
		WORD(bits, 0); WORD(bits, 1); WORD(bits, 2); WORD(bits, 3); WORD(bits, 4); WORD(bits, 5); WORD(bits, 6); \
		break;
#define CASES_4(bits) CASE(bits) CASE((bits) + 1) CASE((bits) + 2) CASE((bits) + 3)
#define CASES_16(bits) CASES_4(bits) CASES_4((bits) + 4) CASES_4((bits) + 8) CASES_4((bits) + 12)
#define CASES_64(bits) CASES_16(bits) CASES_16((bits) + 16) CASES_16((bits) + 32) CASES_16((bits) + 48)
	switch (bitmap) {
		CASES_64(0) CASES_64(64)
	}
}

__attribute__((__used__)) void _start_c(size_t *stack, size_t *dynamic)
{
	const size_t base = (size_t)&__ehdr_start;
	size_t relr = 0, relr_size = 0, rela = 0, rela_size = 0;
	populate(&__ehdr_start, base);
	for (; dynamic[0] != DT_NULL; dynamic += 2) {
		switch (dynamic[0]) {
		case DT_RELR: relr = dynamic[1]; break;
		case DT_RELRSZ: relr_size = dynamic[1]; break;
		case DT_RELA: rela = dynamic[1]; break;
		case DT_RELASZ: rela_size = dynamic[1]; break;
		}
	}
	/* An even word is an address to relocate. An odd one is a bitmap of the 63 words after the last one. */
	const size_t *words = (const void *)(base + relr);
	size_t *next = 0;
	for (size_t i = 0; i < relr_size / sizeof *words; i++) {
		if ((words[i] & 1) == 0) {
			next = (void *)(base + words[i]);
			*next++ += base;
			continue;
		}
		size_t *at = next;
		for (size_t bits = words[i] >> 1; bits != 0; bits >>= 7, at += 7) relocate_seven(at, bits & 127, base);
		next += 63;
	}
	/* All that is left are relative ones too: the program is static. */
	const Rela *entries = (const void *)(base + rela);
	for (size_t i = 0; i < rela_size / sizeof *entries; i++)
		*(size_t *)(base + entries[i].r_offset) = base + entries[i].r_addend;
	/* The compiler must not move anything across. */
	__asm__ __volatile__("" ::: "memory");
	call_library(stack);
}
