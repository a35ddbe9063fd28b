#!/usr/bin/env python3
"""Spoils a good object in one named way: make.py SPOILER BASE OUTPUT.

BASE is an object from ../good/base.s. Each spoiler changes as few bytes as it can, so that a loader that misses the one
thing wrong would go on to run the function.
"""

import struct
import sys

ALLOC, COMPRESSED = 0x2, 0x800
REL = 9

# Where each field of the ELF header, a section header, a symbol and a relocation lies, and how it is packed.
HEADER = {"class": (4, "B"), "data": (5, "B"), "ident_version": (6, "B"), "type": (16, "H"), "machine": (18, "H"),
          "version": (20, "I"), "shoff": (40, "Q"), "phentsize": (54, "H"), "phnum": (56, "H"), "shentsize": (58, "H"),
          "shnum": (60, "H"), "shstrndx": (62, "H")}
SECTION = {"name": (0, "I"), "type": (4, "I"), "flags": (8, "Q"), "offset": (24, "Q"), "size": (32, "Q"),
           "link": (40, "I"), "info": (44, "I"), "addralign": (48, "Q"), "entsize": (56, "Q")}
SYMBOL = {"name": (0, "I"), "info": (4, "B"), "shndx": (6, "H"), "value": (8, "Q"), "size": (16, "Q")}
RELOCATION = {"offset": (0, "Q"), "type": (8, "I"), "symbol": (12, "I"), "addend": (16, "q")}


class Object:
    """The bytes of an object, and the places of its parts."""

    def __init__(self, data):
        self.data = bytearray(data)

    def get(self, at, layout, field):
        offset, kind = layout[field]
        return struct.unpack_from("<" + kind, self.data, at + offset)[0]

    def set(self, at, layout, /, **fields):
        for field, value in fields.items():
            offset, kind = layout[field]
            struct.pack_into("<" + kind, self.data, at + offset, value)

    def header(self, **fields):
        self.set(0, HEADER, **fields)

    def section_at(self, index):
        return self.get(0, HEADER, "shoff") + 64 * index

    def string(self, table, at):
        start = self.get(table, SECTION, "offset") + at
        return self.data[start:self.data.index(0, start)].decode()

    def find_section(self, wanted):
        names = self.section_at(self.get(0, HEADER, "shstrndx"))
        for index in range(self.get(0, HEADER, "shnum")):
            at = self.section_at(index)
            if self.string(names, self.get(at, SECTION, "name")) == wanted:
                return at
        raise KeyError(wanted)

    def section(self, wanted, /, **fields):
        self.set(self.find_section(wanted), SECTION, **fields)

    def symbol(self, wanted, /, **fields):
        table = self.find_section(".symtab")
        names = self.section_at(self.get(table, SECTION, "link"))
        start = self.get(table, SECTION, "offset")
        for at in range(start, start + self.get(table, SECTION, "size"), 24):
            if self.string(names, self.get(at, SYMBOL, "name")) == wanted:
                return self.set(at, SYMBOL, **fields)
        raise KeyError(wanted)

    def relocation(self, section, index, /, **fields):
        start = self.get(self.find_section(section), SECTION, "offset")
        self.set(start + 24 * index, RELOCATION, **fields)


def relocations_without_addends(it):
    """Makes the table of .text SHT_REL, its entries cut to 16 bytes."""
    at = it.find_section(".rela.text")
    start, size = it.get(at, SECTION, "offset"), it.get(at, SECTION, "size")
    entries = [bytes(it.data[entry:entry + 16]) for entry in range(start, start + size, 24)]
    it.data[start:start + 16 * len(entries)] = b"".join(entries)
    it.set(at, SECTION, type=REL, entsize=16, size=16 * len(entries))


def changed(act):
    """A spoiler that changes the base object in place."""
    def spoil(base):
        it = Object(base)
        act(it)
        return bytes(it.data)
    return spoil


SPOILERS = {
    # No ELF file at all.
    "empty_file": lambda base: b"",
    "one_byte": lambda base: base[:1],
    "text_file": lambda base: b"This is no object.\n" * 8,
    "zip_header": lambda base: b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(118),
    "truncated_header": lambda base: base[:40],
    "truncated": lambda base: base[:-64],
    "truncated_half": lambda base: base[:len(base) // 2],
    # The header.
    "class_32": changed(lambda it: it.header(**{"class": 1})),
    "big_endian": changed(lambda it: it.header(data=2)),
    "ident_version": changed(lambda it: it.header(ident_version=2)),
    "file_version": changed(lambda it: it.header(version=2)),
    "et_exec": changed(lambda it: it.header(type=2)),
    "et_dyn": changed(lambda it: it.header(type=3)),
    "et_core": changed(lambda it: it.header(type=4)),
    "machine_aarch64": changed(lambda it: it.header(machine=183)),
    "section_header_size": changed(lambda it: it.header(shentsize=40)),
    "program_headers": changed(lambda it: it.header(phnum=1, phentsize=56)),
    "section_table_far": changed(lambda it: it.header(shoff=1 << 40)),
    "section_table_wraps": changed(lambda it: it.header(shoff=2**64 - 64)),
    "section_count": changed(lambda it: it.header(shnum=0xfeff)),
    "section_count_extended": changed(lambda it: (it.set(it.section_at(0), SECTION, size=1 << 32), it.header(shnum=0))),
    "section_names_outside": changed(lambda it: it.header(shstrndx=0x7fff)),
    # Sections.
    "section_outside": changed(lambda it: it.section(".text", offset=1 << 40)),
    "section_wraps": changed(lambda it: it.section(".text", offset=2**64 - 16)),
    "section_name_outside": changed(lambda it: it.section(".text", name=0xffffffff)),
    "section_alignment_3": changed(lambda it: it.section(".data", addralign=3)),
    "section_alignment_huge": changed(lambda it: it.section(".data", addralign=1 << 63)),
    "section_unknown_type": changed(lambda it: it.section(".data", type=0x60000001)),
    "section_compressed": changed(lambda it: it.section(".rodata", flags=ALLOC | COMPRESSED)),
    "bss_sum_wraps": changed(lambda it: it.section(".bss", size=2**64 - 4096)),
    # Symbols.
    "symbol_table_entries": changed(lambda it: it.section(".symtab", entsize=0)),
    "symbol_names_link": changed(lambda it: it.section(".symtab", link=0x7fff)),
    "symbol_name_outside": changed(lambda it: it.symbol("playground", name=0xffffffff)),
    "symbol_section_outside": changed(lambda it: it.symbol("playground", shndx=0x7fff)),
    "symbol_outside": changed(lambda it: it.symbol("playground", value=1 << 40)),
    "symbol_extended_index": changed(lambda it: it.symbol("playground", shndx=0xffff)),
    # Relocations.
    "relocation_outside": changed(lambda it: it.relocation(".rela.text", 0, offset=1 << 40)),
    "relocation_straddles": changed(
        lambda it: it.relocation(".rela.data", 0, offset=it.get(it.find_section(".data"), SECTION, "size") - 4)),
    "relocation_type": changed(lambda it: it.relocation(".rela.text", 0, type=255)),
    "relocation_symbol": changed(lambda it: it.relocation(".rela.text", 0, symbol=0xffffff)),
    "relocation_overflow": changed(lambda it: it.relocation(".rela.text", 0, addend=1 << 40)),
    "relocation_target": changed(lambda it: it.section(".rela.text", info=0x7fff)),
    "relocation_without_addend": changed(relocations_without_addends),
}


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in SPOILERS:
        sys.exit(f"usage: make.py SPOILER BASE OUTPUT, with one of these spoilers: {' '.join(SPOILERS)}")
    with open(sys.argv[2], "rb") as base:
        spoilt = SPOILERS[sys.argv[1]](base.read())
    with open(sys.argv[3], "wb") as output:
        output.write(spoilt)


if __name__ == "__main__":
    main()
