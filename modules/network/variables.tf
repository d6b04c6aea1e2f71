variable "name" {
  description = "Name of the network."
  type        = string
}

variable "cidr" {
  description = "Range of the network. Each zone gets a sixteenth of it."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr))
    error_message = "The cidr must be an IPv4 range such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "Zones, and the number of each one's subnet."
  type        = map(number)

  validation {
    condition     = alltrue([for number in values(var.zones) : number >= 0 && number < 16])
    error_message = "The number of a subnet must lie between 0 and 15."
  }

  validation {
    condition     = length(distinct(values(var.zones))) == length(var.zones)
    error_message = "Two zones must not share the number of a subnet."
  }
}
