-- For Orthanc ("LuaScripts"): sends each series that has become quiet ("StableAge" seconds) to the
-- modality "hepatica" of Orthanc's configuration. Hepatica keeps once what comes twice, so it does
-- no harm that Orthanc may call this more than once for a series.

local TAKEN = { CT = true, SEG = true, RTSTRUCT = true, SR = true, PR = true }

function OnStableSeries(seriesId, tags, metadata)
  -- answers of Hepatica's own come back to Orthanc as well
  if TAKEN[tags['Modality']] and tags['Manufacturer'] ~= 'Hepatica' then
    local asked = { Resources = { seriesId }, Synchronous = false }
    RestApiPost('/modalities/hepatica/store', DumpJson(asked, true))
  end
end
