# llhttp, compiled in strict mode. Debian 12 ships the generated C with node-llhttp; where a newer
# system library exists it is used instead. Either way our own guard stands in front of it.

find_path(LLHTTP_SYSTEM_INCLUDE llhttp.h PATHS /usr/include NO_DEFAULT_PATH)
find_library(LLHTTP_SYSTEM_LIBRARY llhttp)
if(LLHTTP_SYSTEM_INCLUDE AND LLHTTP_SYSTEM_LIBRARY)
  add_library(gv_llhttp INTERFACE)
  target_include_directories(gv_llhttp SYSTEM INTERFACE ${LLHTTP_SYSTEM_INCLUDE})
  target_link_libraries(gv_llhttp INTERFACE ${LLHTTP_SYSTEM_LIBRARY})
else()
  set(LLHTTP_SOURCES /usr/share/llhttp CACHE PATH "Where the generated llhttp sources lie")
  set(LLHTTP_INCLUDES /usr/share/include/llhttp CACHE PATH "Where llhttp.h lies")
  if(NOT EXISTS ${LLHTTP_SOURCES}/llhttp.c)
    message(FATAL_ERROR "llhttp not found at ${LLHTTP_SOURCES}: apt-get install node-llhttp")
  endif()
  add_library(gv_llhttp STATIC
    ${LLHTTP_SOURCES}/api.c ${LLHTTP_SOURCES}/http.c ${LLHTTP_SOURCES}/llhttp.c)
  target_include_directories(gv_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDES})
  target_compile_definitions(gv_llhttp PUBLIC LLHTTP_STRICT_MODE=1)
  target_compile_options(gv_llhttp PRIVATE -w -fPIE -O2)
  if(GV_SANITIZE)
    target_compile_options(gv_llhttp PRIVATE -fsanitize=${GV_SANITIZE})
  endif()
endif()
