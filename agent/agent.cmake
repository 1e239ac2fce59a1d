# SPDX-License-Identifier: Apache-2.0
# weft_agent: everything but main, so that tests can link it. weft-agent: the binary, at the top of the build folder.
file(GLOB agent_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.c ${CMAKE_CURRENT_LIST_DIR}/enroll/*.c
	${CMAKE_CURRENT_LIST_DIR}/dns/*.c ${CMAKE_CURRENT_LIST_DIR}/outlier/*.c
	${CMAKE_CURRENT_LIST_DIR}/status/*.c ${CMAKE_CURRENT_LIST_DIR}/xds/*.c ${CMAKE_CURRENT_LIST_DIR}/health/*.c)
list(REMOVE_ITEM agent_sources ${CMAKE_CURRENT_LIST_DIR}/main.c)
add_library(weft_agent STATIC ${agent_sources})
set(agent_libs)
foreach(lib weft_proxy weft_kernel weft_compile weft_store weft_engine weft_xds_grpc weft_xds weft_proto)
	if(TARGET ${lib})
		list(APPEND agent_libs ${lib})
	endif()
endforeach()
target_link_libraries(weft_agent PUBLIC ${agent_libs} PkgConfig::JANSSON PkgConfig::LIBBPF PkgConfig::CARES PkgConfig::NGHTTP2
	Threads::Threads PRIVATE weft_flags)

add_executable(weft-agent ${CMAKE_CURRENT_LIST_DIR}/main.c)
target_link_libraries(weft-agent PRIVATE weft_agent weft_flags)
set_target_properties(weft-agent PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
install(TARGETS weft-agent RUNTIME DESTINATION sbin)
