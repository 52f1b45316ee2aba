select distinct region from {{ mart('capacity.gpu_utilisation_hourly') }} where region is not null order by region
