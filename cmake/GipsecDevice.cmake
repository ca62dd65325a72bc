# gipsec-device, the daemon.

set(GIPSEC_DEVICE_PROGRAM "${CMAKE_CURRENT_BINARY_DIR}/gipsec-device")
add_custom_target(gipsec_device ALL
  COMMAND "${GIPSEC_CARGO}" build --profile "${gipsec_cargo_profile}" ${gipsec_cargo_lock}
          --package gipsec-device --target-dir "${GIPSEC_CARGO_TARGET_DIR}" ${GIPSEC_CARGO_ARGS}
  COMMAND "${CMAKE_COMMAND}" -E copy_if_different
          "${GIPSEC_CARGO_TARGET_DIR}/${gipsec_cargo_output}/gipsec-device" "${GIPSEC_DEVICE_PROGRAM}"
  BYPRODUCTS "${GIPSEC_DEVICE_PROGRAM}"
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
  COMMENT "Building gipsec-device with cargo (${gipsec_cargo_profile})"
  USES_TERMINAL VERBATIM)
# Cargo's own lock would have one of them wait for the other.
add_dependencies(gipsec_device gipsec_cargo)

install(PROGRAMS "${GIPSEC_DEVICE_PROGRAM}" DESTINATION "${CMAKE_INSTALL_SBINDIR}")
install(FILES man/gipsec-device.8 DESTINATION "${CMAKE_INSTALL_MANDIR}/man8")
install(FILES dist/gipsec-device.toml DESTINATION "${CMAKE_INSTALL_DOCDIR}")
# For systemd: the service, and the user that it runs as.
configure_file(dist/gipsec-device.service.in gipsec-device.service @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/gipsec-device.service" DESTINATION lib/systemd/system)
install(FILES dist/gipsec-device.sysusers DESTINATION lib/sysusers.d RENAME gipsec-device.conf)
