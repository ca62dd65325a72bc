# kernel-gipsec, the plugin for strongSwan's charon: with -DSTRONGSWAN_SRC=... alone, where strongSwan's sources are
# (scripts/strongswan_headers.sh fetches those of Debian). Of them the headers are read, and nothing is compiled.
if(NOT EXISTS "${STRONGSWAN_SRC}/src/libcharon/daemon.h")
  message(FATAL_ERROR "STRONGSWAN_SRC is ${STRONGSWAN_SRC}, and there is no src/libcharon/daemon.h in it")
endif()
file(STRINGS "${STRONGSWAN_SRC}/configure.ac" strongswan_version REGEX "^AC_INIT")
if(NOT strongswan_version MATCHES "\\[([0-9]+)\\.([0-9]+)\\.([0-9]+)")
  message(FATAL_ERROR "${STRONGSWAN_SRC}/configure.ac does not say which version of strongSwan this is")
endif()
set(strongswan_version "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
math(EXPR strongswan_number "${CMAKE_MATCH_1} * 10000 + ${CMAKE_MATCH_2} * 100 + ${CMAKE_MATCH_3}")
message(STATUS "kernel-gipsec for strongSwan ${strongswan_version}")

set(STRONGSWAN_PLUGIN_DIR "/usr/lib/ipsec/plugins" CACHE PATH "Where charon looks for plugins")
set(STRONGSWAN_CONF_DIR "/etc/strongswan.d/charon" CACHE PATH "Where charon looks for its plugins' settings")

set(strongswan_dir "${CMAKE_CURRENT_SOURCE_DIR}/strongswan")
file(GLOB strongswan_sources CONFIGURE_DEPENDS "${strongswan_dir}/*.c")
add_library(kernel_gipsec MODULE ${strongswan_sources})
set_target_properties(kernel_gipsec PROPERTIES
  OUTPUT_NAME strongswan-kernel-gipsec
  C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS ON
  C_VISIBILITY_PRESET hidden
  INSTALL_RPATH "${CMAKE_INSTALL_FULL_LIBDIR}")
target_compile_definitions(kernel_gipsec PRIVATE
  STRONGSWAN_VERSION_NUMBER=${strongswan_number} STRONGSWAN_VERSION="${strongswan_version}")
target_compile_options(kernel_gipsec PRIVATE -include "${strongswan_dir}/compat.h"
  -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
  $<$<BOOL:${GIPSEC_WERROR}>:-Werror>)
target_include_directories(kernel_gipsec SYSTEM PRIVATE
  "${STRONGSWAN_SRC}/src/libstrongswan" "${STRONGSWAN_SRC}/src/libcharon")
target_link_libraries(kernel_gipsec PRIVATE gipsec::shared)

install(TARGETS kernel_gipsec LIBRARY DESTINATION "${STRONGSWAN_PLUGIN_DIR}")
# One that somebody has changed is left alone.
install(CODE "
  set(conf \"\$ENV{DESTDIR}${STRONGSWAN_CONF_DIR}/kernel-gipsec.conf\")
  if(EXISTS \"\${conf}\")
    file(SHA256 \"\${conf}\" there)
    file(SHA256 \"${strongswan_dir}/kernel-gipsec.conf\" new)
    if(NOT there STREQUAL new)
      message(STATUS \"Left as it is: \${conf}; the new one is beside it\")
      file(INSTALL \"${strongswan_dir}/kernel-gipsec.conf\" DESTINATION \"${STRONGSWAN_CONF_DIR}\" RENAME kernel-gipsec.conf.new)
    endif()
  else()
    file(INSTALL \"${strongswan_dir}/kernel-gipsec.conf\" DESTINATION \"${STRONGSWAN_CONF_DIR}\")
  endif()")
