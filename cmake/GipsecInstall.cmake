# What `cmake --install` puts in place: headers, both libraries, gipsec.pc, the CMake package, manual pages. Everything
# finds its neighbours relative to itself, so that an installed tree can be moved.
include(CMakePackageConfigHelpers)

set(gipsec_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/gipsec")
set(gipsec_pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

install(FILES include/g_ipsec_la.h include/g_ipsec_la_ext.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(FILES "${gipsec_archive}" DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(TARGETS gipsec_shared EXPORT gipsecTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")

# ---- pkg-config ----

# ${pcfiledir} is where pkg-config found the file; with absolute directories only the configured prefix is left.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(GIPSEC_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
  set(GIPSEC_PC_LIBDIR "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(GIPSEC_PC_INCLUDEDIR "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH gipsec_up "/prefix/${gipsec_pc_dir}" "/prefix")
  string(REGEX REPLACE "/$" "" gipsec_up "${gipsec_up}")
  set(GIPSEC_PC_PREFIX "\${pcfiledir}/${gipsec_up}")
  set(GIPSEC_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(GIPSEC_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(pkgconfig/gipsec.pc.in gipsec.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/gipsec.pc" DESTINATION "${gipsec_pc_dir}")

# ---- CMake package ----

configure_package_config_file(cmake/gipsecConfig.cmake.in gipsecConfig.cmake
  INSTALL_DESTINATION "${gipsec_package_dir}"
  PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(gipsecConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/gipsecConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/gipsecConfigVersion.cmake"
  DESTINATION "${gipsec_package_dir}")
install(EXPORT gipsecTargets NAMESPACE gipsec:: DESTINATION "${gipsec_package_dir}")

# ---- manual pages ----

file(GLOB gipsec_man_pages CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/man/*.3")
if(gipsec_man_pages)
  install(FILES ${gipsec_man_pages} DESTINATION "${CMAKE_INSTALL_MANDIR}/man3")
endif()
