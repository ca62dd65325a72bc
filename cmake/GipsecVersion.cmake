# The version has one home, [workspace.package] of Cargo.toml.

function(gipsec_read_version manifest result)
  # A change of the version must reach the SONAME and the .pc file without being asked.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${manifest}")
  file(STRINGS "${manifest}" lines)
  set(section "")
  foreach(line IN LISTS lines)
    if(line MATCHES "^\\[(.*)\\]")
      set(section "${CMAKE_MATCH_1}")
    elseif(section STREQUAL "workspace.package" AND line MATCHES "^version *= *\"([0-9]+\\.[0-9]+\\.[0-9]+)")
      set(${result} "${CMAKE_MATCH_1}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "${manifest} has no version in [workspace.package]")
endfunction()
