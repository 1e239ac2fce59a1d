# SPDX-License-Identifier: Apache-2.0
# weft_bpf_object(NAME SRC): compiles SRC for BPF and makes its skeleton. Gives the interface target
# weft_bpf_NAME (include <NAME.skel.h>) and the object ${CMAKE_BINARY_DIR}/bpf/NAME.bpf.o.
include_guard(GLOBAL)

find_program(WEFT_BPF_CLANG NAMES clang-16 clang-17 clang-18 clang-19 clang REQUIRED)
find_program(WEFT_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
set(WEFT_BPF_DIR ${CMAKE_BINARY_DIR}/bpf)
file(MAKE_DIRECTORY ${WEFT_BPF_DIR})

# Kernel types: of the running kernel where it has BTF, else the few that the programs use. Both relocate.
if(EXISTS /sys/kernel/btf/vmlinux)
	add_custom_command(OUTPUT ${WEFT_BPF_DIR}/vmlinux.h
		COMMAND ${WEFT_BPFTOOL} btf dump file /sys/kernel/btf/vmlinux format c
			> ${WEFT_BPF_DIR}/vmlinux.h
		VERBATIM COMMENT "Kernel types from BTF")
else()
	message(STATUS "No BTF of the running kernel: programs use bpf/vmlinux_min.h")
	add_custom_command(OUTPUT ${WEFT_BPF_DIR}/vmlinux.h
		COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_SOURCE_DIR}/bpf/vmlinux_min.h
			${WEFT_BPF_DIR}/vmlinux.h
		DEPENDS ${CMAKE_SOURCE_DIR}/bpf/vmlinux_min.h
		VERBATIM COMMENT "Kernel types from vmlinux_min.h")
endif()
add_custom_target(weft_vmlinux DEPENDS ${WEFT_BPF_DIR}/vmlinux.h)

# UAPI headers of Debian's multiarch folder, which clang -target bpf does not look into.
set(WEFT_BPF_FLAGS -std=gnu17 -O2 -g -target bpf -mcpu=v3 -Wall -Werror -Wno-unused-function
	-I${WEFT_BPF_DIR} -I${CMAKE_SOURCE_DIR})
if(CMAKE_LIBRARY_ARCHITECTURE)
	list(APPEND WEFT_BPF_FLAGS -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})
endif()

function(weft_bpf_object name src)
	get_filename_component(path ${src} ABSOLUTE)
	set(obj ${WEFT_BPF_DIR}/${name}.bpf.o)
	set(skel ${WEFT_BPF_DIR}/${name}.skel.h)
	add_custom_command(OUTPUT ${obj}
		COMMAND ${WEFT_BPF_CLANG} ${WEFT_BPF_FLAGS} -MMD -MF ${obj}.d -MT ${obj}
			-c ${path} -o ${obj}
		DEPENDS ${path} weft_vmlinux ${WEFT_BPF_DIR}/vmlinux.h
		DEPFILE ${obj}.d
		VERBATIM COMMENT "BPF ${name}")
	add_custom_command(OUTPUT ${skel}
		COMMAND ${WEFT_BPFTOOL} gen skeleton ${obj} name ${name}_bpf > ${skel}
		DEPENDS ${obj}
		VERBATIM COMMENT "Skeleton ${name}")
	add_custom_target(weft_bpf_${name}_gen ALL DEPENDS ${obj} ${skel})
	add_library(weft_bpf_${name} INTERFACE)
	add_dependencies(weft_bpf_${name} weft_bpf_${name}_gen)
	target_include_directories(weft_bpf_${name} SYSTEM INTERFACE ${WEFT_BPF_DIR})
	target_link_libraries(weft_bpf_${name} INTERFACE PkgConfig::LIBBPF)
endfunction()
